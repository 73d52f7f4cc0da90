-- With sweep_chords in one transaction, which removes just these chords.
INSERT OR IGNORE INTO ended_run (run)
SELECT run FROM chord WHERE expires_at <= ?1 ORDER BY expires_at, id LIMIT ?2
