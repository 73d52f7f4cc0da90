SELECT binding.type, binding.routing_key, queue.name FROM binding JOIN queue ON queue.id = binding.queue WHERE binding.exchange = ?1
