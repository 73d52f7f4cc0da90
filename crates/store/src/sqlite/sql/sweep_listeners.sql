DELETE FROM listener WHERE until <= ?1
