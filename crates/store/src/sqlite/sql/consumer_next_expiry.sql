SELECT min(lease_until) FROM consumer WHERE id <> ?1
