DELETE FROM delayed WHERE (due, message) <= (?1, ?2)
