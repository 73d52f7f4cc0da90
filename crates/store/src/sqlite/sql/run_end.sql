INSERT OR IGNORE INTO ended_run (run) VALUES (?1)
