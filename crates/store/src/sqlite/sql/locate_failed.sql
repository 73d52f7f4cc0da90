SELECT queue.name FROM failed CROSS JOIN queue ON queue.id = failed.queue WHERE failed.task_id = ?1
