INSERT OR REPLACE INTO saved_group (id, expires_at, result) VALUES (?1, ?2, ?3)
