-- Holds until this transaction ends.
SELECT 1 FROM lent WHERE tag = ?1
