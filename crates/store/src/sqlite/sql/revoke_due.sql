-- With task_undelay, which took it out of the schedule, and revoke_move in one transaction.
INSERT INTO ready (queue, rank, message, deliveries) VALUES (?1, 0, ?2, 0)
