SELECT id, name FROM queue ORDER BY name
