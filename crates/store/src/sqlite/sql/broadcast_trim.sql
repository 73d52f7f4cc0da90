-- The oldest of an exchange, as far as they end before what may be kept begins.
DELETE FROM broadcast WHERE number IN (SELECT number FROM broadcast WHERE exchange = ?1 ORDER BY number LIMIT ?3) AND ends <= ?2
