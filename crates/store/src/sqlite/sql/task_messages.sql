SELECT id, queue, rank, due FROM message WHERE task_id = ?1
