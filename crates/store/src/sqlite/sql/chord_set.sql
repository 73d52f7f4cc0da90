-- Once for each chord and operation, in the write transaction that read it or found none.
INSERT OR REPLACE INTO chord (id, run, size, added, counted, failed, closed, expires_at)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
