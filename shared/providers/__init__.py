"""The providers: one file each, and the line in registry.py that makes it known."""
