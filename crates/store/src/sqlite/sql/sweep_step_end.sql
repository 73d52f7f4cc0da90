-- The end of a bounded step: the last of the next ?3 rows of the range.
SELECT max(number) FROM (SELECT number FROM result WHERE number BETWEEN ?1 AND ?2 ORDER BY number LIMIT ?3)
