-- Schema version 5: bindings of queues to exchanges.

-- What is published to an exchange goes to the queues with a binding that its routing key matches, by the type of the
-- exchange as it was declared with the binding: direct, topic or fanout. That a queue is bound to the exchange of its own
-- name goes without saying.
CREATE TABLE binding (
    exchange TEXT NOT NULL,
    type TEXT NOT NULL,
    routing_key TEXT NOT NULL,
    queue INTEGER NOT NULL,
    PRIMARY KEY (exchange, type, routing_key, queue)
) STRICT, WITHOUT ROWID;
