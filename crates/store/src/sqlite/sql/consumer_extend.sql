-- Changes nothing if the lease ran out and somebody removed the row: then its deliveries are gone too, in that
-- same transaction, and the caller starts anew under another id.
UPDATE consumer SET lease_until = ?2 WHERE id = ?1
