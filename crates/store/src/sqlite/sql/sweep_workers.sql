DELETE FROM worker WHERE valid_until <= ?1
