-- The rank of a message and that of its row in ready are the same at every instant: with revoke_move in one transaction.
-- Rank 0 is before everything that was published.
UPDATE ready SET rank = 0 WHERE queue = ?1 AND rank = ?2 AND message = ?3
