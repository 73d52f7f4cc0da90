-- Changes nothing if this member has reported from this place: it counts once.
INSERT OR IGNORE INTO part (run, member, place, state, result) VALUES (?1, ?2, ?3, ?4, ?5)
