INSERT INTO ready (queue, rank, message, deliveries) SELECT queue, rank, id, 0 FROM message WHERE id = ?1
