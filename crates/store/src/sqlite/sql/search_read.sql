-- The oldest messages after one, whatever they are of.
SELECT message.id, message.head, message.body FROM message WHERE message.id > ?1 ORDER BY message.id LIMIT ?2
