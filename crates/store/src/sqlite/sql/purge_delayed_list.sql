SELECT due, message FROM delayed WHERE (due, message) > (?1, ?2) AND queue = ?3 AND message <= ?4
ORDER BY due, message LIMIT ?5
