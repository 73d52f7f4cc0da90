SELECT ends FROM broadcast WHERE exchange = ?1 ORDER BY number DESC LIMIT 1
