SELECT max(number) FROM result
