UPDATE message SET rank = 0, due = NULL WHERE id = ?1
