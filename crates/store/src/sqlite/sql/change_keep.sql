INSERT OR REPLACE INTO control_change (node, name, value, at, expires_at)
VALUES (?1, ?2, ?3, ?4, ?5)
