-- Settles how messages are published, so that all nodes do it alike.
-- KEYS: pubsub. ARGV: what this node would do.
-- Answers what is settled.
redis.call('SETNX', KEYS[1], ARGV[1])
return redis.call('GET', KEYS[1])
