DELETE FROM delayed WHERE due = ?1 AND message = ?2
