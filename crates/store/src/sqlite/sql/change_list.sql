SELECT name, value, at FROM control_change
WHERE node = ?1 AND EXISTS (SELECT 1 FROM control_node WHERE control_node.node = ?1 AND expires_at > ?2) ORDER BY name
