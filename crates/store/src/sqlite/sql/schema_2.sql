-- Schema version 2: groups and chords.

-- What groups are made of.
CREATE TABLE saved_group (
    id ANY NOT NULL UNIQUE,
    expires_at INTEGER NOT NULL,
    result BLOB NOT NULL
) STRICT;
CREATE INDEX saved_group_expiry ON saved_group (expires_at);

-- The counts of chords; `size` is null while nobody has said. A closed chord stays until it expires, so that what comes
-- late changes nothing. One that begins anew gets another run, which has no parts yet.
CREATE TABLE chord (
    id ANY PRIMARY KEY NOT NULL,
    run INTEGER NOT NULL,
    size INTEGER,
    added INTEGER NOT NULL,
    counted INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    closed INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX chord_expiry ON chord (expires_at);

-- What the members of a run have reported, at each of their places; the largest number stands for none. `state` is null
-- for a success.
CREATE TABLE part (
    run INTEGER NOT NULL,
    member ANY NOT NULL,
    place INTEGER NOT NULL,
    state TEXT,
    result BLOB NOT NULL,
    PRIMARY KEY (run, member, place)
) STRICT, WITHOUT ROWID;

-- Runs that are over, whose many parts are removed a bounded step at a time.
CREATE TABLE ended_run (
    run INTEGER PRIMARY KEY
) STRICT;
