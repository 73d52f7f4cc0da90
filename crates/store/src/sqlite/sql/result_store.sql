-- One statement decides and writes, inside the write transaction: `final` is 0 for a record that any other may
-- replace, 1 for a final one, 2 for a success, which stays. An expired record counts as none (?6 is now).
INSERT INTO result (number, task_id, final, expires_at, record) VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT (task_id) DO UPDATE
SET number = excluded.number, final = excluded.final, expires_at = excluded.expires_at, record = excluded.record
WHERE (result.final < 2 AND excluded.final >= result.final) OR result.expires_at <= ?6
