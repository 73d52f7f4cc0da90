INSERT INTO consumes (consumer, queue) VALUES (?1, ?2)
