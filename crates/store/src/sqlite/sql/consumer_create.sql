INSERT INTO consumer (worker, lease_until) VALUES (?1, ?2)
