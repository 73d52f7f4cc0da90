-- Schema version 1. Runs once, inside the transaction that sets user_version, so no process sees half of it.
--
-- What is large (message) is written once and deleted once. Where a message is in its life is a row in one
-- of three small tables (ready, delayed, lent) that are all a claim ever moves.
--
-- Times are microseconds since the Unix epoch. A task id is a blob of 16 bytes if it is a UUID as Celery writes it,
-- else text.

-- The last number given out; numbers are unique for ever and rise in the order of commits.
-- They follow the clock in microseconds, so that numbers and due times compare as ages.
CREATE TABLE sequence (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    last INTEGER NOT NULL
) STRICT;
INSERT INTO sequence VALUES (1, 0);

-- Queues are never removed, so every process may keep their ids.
CREATE TABLE queue (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;

-- `rank` is its place in the queue: 9 - priority in the high bits, the number or due time in the 55 low ones.
CREATE TABLE message (
    id INTEGER PRIMARY KEY,
    task_id ANY,
    queue INTEGER NOT NULL,
    rank INTEGER NOT NULL,
    due INTEGER,
    head BLOB NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE INDEX message_task ON message (task_id) WHERE task_id IS NOT NULL;

CREATE TABLE ready (
    queue INTEGER NOT NULL,
    rank INTEGER NOT NULL,
    message INTEGER NOT NULL,
    deliveries INTEGER NOT NULL,
    PRIMARY KEY (queue, rank, message)
) STRICT, WITHOUT ROWID;

CREATE TABLE delayed (
    due INTEGER NOT NULL,
    message INTEGER NOT NULL,
    queue INTEGER NOT NULL,
    rank INTEGER NOT NULL,
    PRIMARY KEY (due, message)
) STRICT, WITHOUT ROWID;

-- A tag names one lending for ever (hence AUTOINCREMENT): while its row exists, the delivery is the consumer's.
-- `started` is 1 once its task was said to be about to run, which is said of redeliveries only.
CREATE TABLE lent (
    tag INTEGER PRIMARY KEY AUTOINCREMENT,
    consumer INTEGER NOT NULL,
    message INTEGER NOT NULL,
    deliveries INTEGER NOT NULL,
    started INTEGER NOT NULL DEFAULT 0
) STRICT;

-- One lease for all that a consumer has, so renewing it writes one row.
CREATE TABLE consumer (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    worker TEXT NOT NULL,
    lease_until INTEGER NOT NULL
) STRICT;
CREATE TABLE consumes (
    consumer INTEGER NOT NULL,
    queue INTEGER NOT NULL,
    PRIMARY KEY (consumer, queue)
) STRICT, WITHOUT ROWID;

-- A record that is replaced moves to a new number, so "what came after N" is a feed of changes.
CREATE TABLE result (
    number INTEGER PRIMARY KEY,
    task_id ANY NOT NULL UNIQUE,
    final INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    record BLOB NOT NULL
) STRICT;

-- In which range of numbers the results lie that expire in this minute. Written once per commit; an index on
-- result.expires_at would be written once per result.
CREATE TABLE expiry (
    minute INTEGER PRIMARY KEY,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL
) STRICT;

CREATE TABLE revoked (
    number INTEGER PRIMARY KEY,
    task_id ANY NOT NULL UNIQUE,
    terminate INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    -- Whether its messages were removed and nothing was left of it.
    removed INTEGER NOT NULL
) STRICT;
CREATE INDEX revoked_expiry ON revoked (expires_at);

CREATE TABLE failed (
    number INTEGER PRIMARY KEY,
    task_id ANY NOT NULL UNIQUE,
    queue INTEGER NOT NULL,
    rank INTEGER NOT NULL,
    failed_at INTEGER NOT NULL,
    deliveries INTEGER NOT NULL,
    code TEXT NOT NULL,
    reason TEXT NOT NULL,
    evidence BLOB NOT NULL,
    head BLOB NOT NULL,
    body BLOB NOT NULL
) STRICT;

CREATE TABLE worker (
    id TEXT PRIMARY KEY,
    number INTEGER NOT NULL,
    name TEXT NOT NULL,
    announced_at INTEGER NOT NULL,
    valid_until INTEGER NOT NULL,
    facts BLOB NOT NULL
) STRICT, WITHOUT ROWID;
