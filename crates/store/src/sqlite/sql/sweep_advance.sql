UPDATE expiry SET first = ?2 WHERE minute = ?1
