SELECT max(number) FROM revoked
