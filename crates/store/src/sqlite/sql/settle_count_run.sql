SELECT count(*) FROM lent WHERE tag BETWEEN ?1 AND ?2
