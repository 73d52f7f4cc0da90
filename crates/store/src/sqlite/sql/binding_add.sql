INSERT OR IGNORE INTO binding (exchange, type, routing_key, queue) VALUES (?1, ?2, ?3, ?4)
