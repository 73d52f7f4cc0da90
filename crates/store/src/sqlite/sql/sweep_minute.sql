SELECT minute, first, last FROM expiry WHERE minute < ?1 ORDER BY minute LIMIT 1
