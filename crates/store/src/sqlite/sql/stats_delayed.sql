SELECT queue, count(*), sum(due <= ?1) FROM delayed GROUP BY queue
