SELECT run FROM ended_run LIMIT 1
