-- A new number each time, so that those who watch see it again.
INSERT OR REPLACE INTO revoked (number, task_id, terminate, expires_at, removed) VALUES (?1, ?2, ?3, ?4, ?5)
