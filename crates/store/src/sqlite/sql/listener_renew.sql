-- Also for one that fell silent for so long that somebody removed its row.
INSERT INTO listener (id, exchange, keys, until) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (id) DO UPDATE SET until = excluded.until
