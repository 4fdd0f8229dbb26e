"""What `GET /api/metrics` tells Prometheus."""
