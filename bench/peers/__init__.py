"""What other queues ask of Redis for the same jobs: counted on one server, each queue by its own worker and client."""
