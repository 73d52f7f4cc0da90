-- In the write transaction that did not find it to replace it.
INSERT INTO control_change (node, name, value, at) VALUES (?1, ?2, ?3, ?4)
