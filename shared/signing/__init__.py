"""Proofs: webhook signatures, ids and nonces derived from SIGNING_SECRET, QStash's tokens, presigned URLs.

Each function takes its secrets and the time as arguments, so tests can compare it with the reference implementation.
"""
