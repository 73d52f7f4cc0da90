-- A message is seen by nobody before its row in ready or delayed commits with it.
INSERT INTO message (id, task_id, queue, rank, due, head, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
