SELECT id, worker FROM consumer WHERE lease_until <= ?1 AND id <> ?2
