SELECT message.id, message.head, message.body FROM message WHERE message.task_id = ?1
