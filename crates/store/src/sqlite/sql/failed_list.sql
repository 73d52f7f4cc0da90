-- Bodies stay where they are: the size of one is known without reading it.
SELECT failed.task_id, queue.name, failed.failed_at, failed.deliveries, failed.code, failed.reason, failed.evidence,
       failed.head, x'' AS body, length(failed.body)
FROM failed JOIN queue ON queue.id = failed.queue
ORDER BY failed.number DESC LIMIT ?1
