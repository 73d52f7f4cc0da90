SELECT run, size, added, counted, failed, closed, expires_at FROM chord WHERE id = ?1
