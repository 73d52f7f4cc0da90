-- Schema version 4: broadcasts, and who listens to them.

-- Who listens, until when. `keys` is a pattern of GLOB that the routing key has to match: '' for what has none. Ids are
-- never given out again (hence AUTOINCREMENT), so one who was away for too long comes back under its own.
CREATE TABLE listener (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    exchange TEXT NOT NULL,
    keys TEXT NOT NULL,
    until INTEGER NOT NULL
) STRICT;
CREATE INDEX listener_exchange ON listener (exchange);

-- What was said to those who listened. Nobody takes it away: each listener remembers how far it has read. `ends` adds up
-- the sizes in its exchange, so that a listener notices what was removed before it read it, and what is too much is found.
CREATE TABLE broadcast (
    number INTEGER PRIMARY KEY,
    exchange TEXT NOT NULL,
    routing_key TEXT NOT NULL,
    expires_at INTEGER NOT NULL,
    ends INTEGER NOT NULL,
    head BLOB NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE INDEX broadcast_exchange ON broadcast (exchange, number);
CREATE INDEX broadcast_expiry ON broadcast (expires_at);
