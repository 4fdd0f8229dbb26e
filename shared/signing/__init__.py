"""Proofs: webhook signatures and nonces, QStash's tokens, presigned URLs.

Each function takes its secrets and the time as arguments, so tests compare it with the reference implementation.
"""
