"""Follow-ups of an end: stores a job's files and delivers its events, at once or when the outbox has them due."""
