-- Schema version 6: how many changes are kept of a node, and until when.

-- What is there of `control_change`: nobody looks through it to keep one more. The changes of a node expire together.
CREATE TABLE control_node (
    node TEXT PRIMARY KEY,
    changes INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO control_node (node, changes, expires_at)
SELECT node, count(*), max(expires_at) FROM control_change GROUP BY node;
ALTER TABLE control_change DROP COLUMN expires_at;
