"""What leaves a process beside its log: errors to Sentry, spans to a collector. Off unless configured."""
