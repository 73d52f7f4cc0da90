-- In the write transaction that did not find it, so no other process can have created it meanwhile.
INSERT INTO queue (name) VALUES (?1)
