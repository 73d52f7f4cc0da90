DELETE FROM expiry WHERE minute = ?1
