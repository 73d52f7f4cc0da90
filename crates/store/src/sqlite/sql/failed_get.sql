SELECT failed.task_id, queue.name, failed.failed_at, failed.deliveries, failed.code, failed.reason, failed.evidence,
       failed.head, failed.body, length(failed.body)
FROM failed JOIN queue ON queue.id = failed.queue
WHERE failed.task_id = ?1
