-- Looked at outside of a write transaction too: who listens before a broadcast begins is seen by it.
SELECT 1 FROM listener WHERE exchange = ?1 AND ?2 GLOB keys AND until > ?3 LIMIT 1
