DELETE FROM saved_group WHERE rowid IN (SELECT rowid FROM saved_group WHERE expires_at <= ?1 LIMIT ?2)
