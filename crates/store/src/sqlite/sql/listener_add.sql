INSERT INTO listener (exchange, keys, until) VALUES (?1, ?2, ?3)
