-- Only after all of these tags were found to be lent, and with settle_run_tags, in one transaction.
DELETE FROM message WHERE id IN (SELECT message FROM lent WHERE tag BETWEEN ?1 AND ?2)
