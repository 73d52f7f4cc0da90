-- Whether all of these tags are still lent, which holds until this transaction ends.
SELECT count(*) FROM lent WHERE tag BETWEEN ?1 AND ?2
