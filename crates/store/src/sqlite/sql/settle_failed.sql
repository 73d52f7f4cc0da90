-- Changes nothing if the tag is not lent any more. A task that fails again replaces what was kept of it.
INSERT OR REPLACE INTO failed (number, task_id, queue, rank, failed_at, deliveries, code, reason, evidence, head, body)
SELECT ?2, coalesce(message.task_id, ?3), message.queue, message.rank, ?4, lent.deliveries, ?5, ?6, ?7,
       message.head, message.body
FROM lent CROSS JOIN message ON message.id = lent.message
WHERE lent.tag = ?1
