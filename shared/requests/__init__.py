"""Reads requests: proves the caller's role, and reads bodies of limited size as strict JSON."""
