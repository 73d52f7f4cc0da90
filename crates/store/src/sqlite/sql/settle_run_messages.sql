-- A run of neighbouring tags at once. Safe because the caller compares the number of rows with the length of
-- the run, and takes the whole group back if one of them was lost.
DELETE FROM message WHERE id IN (SELECT message FROM lent WHERE tag BETWEEN ?1 AND ?2)
