-- Changes nothing if the tag is not lent any more: that is the fence. With settle_tag in one transaction.
DELETE FROM message WHERE id = (SELECT message FROM lent WHERE tag = ?1)
