SELECT id, number, name, announced_at, valid_until, facts FROM worker WHERE valid_until > ?1 ORDER BY name, id
