DELETE FROM revoked WHERE number IN (SELECT number FROM revoked WHERE expires_at <= ?1 LIMIT ?2)
