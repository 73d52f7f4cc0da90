DELETE FROM failed WHERE number = ?1
