SELECT due FROM delayed WHERE due > ?1 ORDER BY due LIMIT 1
