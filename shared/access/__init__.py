"""Who may do what: the callers that a credential proves, their scopes, and what else a credential allows."""
