"""Proofs: webhook signatures, ids and nonces derived from SIGNING_SECRET, QStash's tokens, presigned URLs.

Each function takes its secrets and the time as arguments, so tests compare it with the reference implementation.
"""
