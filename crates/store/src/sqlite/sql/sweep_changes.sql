DELETE FROM control_change WHERE expires_at <= ?1
