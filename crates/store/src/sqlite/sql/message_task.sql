SELECT task_id FROM message WHERE id = ?1
