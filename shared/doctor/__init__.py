"""The doctor: looks for what is wrong with a deployment and its jobs, and heals what is safe to heal."""
