INSERT INTO control_node (node, changes, expires_at) VALUES (?1, ?2, ?3)
ON CONFLICT (node) DO UPDATE SET changes = changes + excluded.changes, expires_at = excluded.expires_at
