SELECT changes FROM control_node WHERE node = ?1
