INSERT INTO delayed (due, message, queue, rank) VALUES (?1, ?2, ?3, ?4)
