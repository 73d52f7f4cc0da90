-- Changes nothing if the tag is not lent any more, and then the delivery has gone back as one that did not start.
UPDATE lent SET started = 1 WHERE tag = ?1
