"""How many Redis commands other queues need for the same jobs, each with its own worker and client, on one server."""
