DELETE FROM part WHERE run = ?1 AND member IN (SELECT member FROM part WHERE run = ?1 LIMIT ?2)
