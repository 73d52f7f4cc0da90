-- Before their nodes go, by sweep_change_nodes.sql.
DELETE FROM control_change WHERE node IN (SELECT node FROM control_node WHERE expires_at <= ?1)
