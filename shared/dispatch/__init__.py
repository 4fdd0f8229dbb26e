"""What moves jobs: starts them, compares runs with what the provider says, and does all of it again in a tick."""
