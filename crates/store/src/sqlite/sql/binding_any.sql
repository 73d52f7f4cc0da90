SELECT 1 FROM binding JOIN queue ON queue.id = binding.queue
WHERE binding.exchange = ?1 AND binding.type = ?2 AND binding.routing_key = ?3 AND queue.name = ?4
