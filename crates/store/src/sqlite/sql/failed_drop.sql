DELETE FROM failed WHERE task_id = ?1
