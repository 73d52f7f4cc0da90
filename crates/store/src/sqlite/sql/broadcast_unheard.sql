-- What nobody is left to read.
DELETE FROM broadcast WHERE exchange = ?1 AND NOT EXISTS (
    SELECT 1 FROM listener WHERE listener.exchange = ?1 AND broadcast.routing_key GLOB listener.keys AND listener.until > ?2
)
