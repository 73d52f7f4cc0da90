-- Changes nothing if somebody else requeued or dropped it first. ?2 is its new number, ?3 the bits of a rank's age.
INSERT INTO message (id, task_id, queue, rank, due, head, body)
SELECT ?2, task_id, queue, (rank & ~?3) | (?2 & ?3), NULL, head, body FROM failed WHERE number = ?1
