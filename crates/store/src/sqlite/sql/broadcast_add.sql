INSERT INTO broadcast (number, exchange, routing_key, expires_at, ends, head, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
