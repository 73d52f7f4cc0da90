INSERT INTO ready (queue, rank, message, deliveries) VALUES (?1, ?2, ?3, 0)
