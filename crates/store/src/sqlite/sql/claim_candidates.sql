-- Only looks; the claim takes from the head of each queue what won among several queues.
SELECT rank, message FROM ready WHERE queue = ?1 ORDER BY rank, message LIMIT ?2
