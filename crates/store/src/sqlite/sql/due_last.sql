-- The last row that due_to_ready has just moved.
SELECT due, message FROM delayed WHERE due <= ?1 ORDER BY due, message LIMIT 1 OFFSET ?2 - 1
