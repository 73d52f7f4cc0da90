-- Read inside the write transaction, so no other process can give out the same numbers.
SELECT last FROM sequence
