DELETE FROM ended_run WHERE run = ?1
