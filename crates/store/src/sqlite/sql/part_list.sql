SELECT member, place, state, result FROM part WHERE run = ?1
