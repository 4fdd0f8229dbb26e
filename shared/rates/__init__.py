"""Rate limits: how often an API key, a user or a client address may do something."""
