-- Schema version 3: what was changed of workers while they ran.

-- The changes of one node, or of all where `node` is empty. They expire together.
CREATE TABLE control_change (
    node TEXT NOT NULL,
    name TEXT NOT NULL,
    value BLOB NOT NULL,
    at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (node, name)
) STRICT, WITHOUT ROWID;
