-- Removes the head of the queue up to the last row lent, and nothing was published into that range meanwhile.
DELETE FROM ready WHERE queue = ?1 AND (rank, message) <= (?2, ?3)
