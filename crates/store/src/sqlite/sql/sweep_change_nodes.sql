DELETE FROM control_node WHERE expires_at <= ?1
