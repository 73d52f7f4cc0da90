SELECT number, head FROM failed WHERE task_id = ?1
