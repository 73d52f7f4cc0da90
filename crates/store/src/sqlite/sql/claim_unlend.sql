-- The tail of what claim_lend has just made in this transaction, still in ready.
DELETE FROM lent WHERE tag > ?1
