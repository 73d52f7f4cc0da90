SELECT head, body FROM message WHERE id = ?1
