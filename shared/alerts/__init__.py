"""Alerts: what is wrong now, who is told of it, and how often. Nothing here is loaded without a receiver."""
