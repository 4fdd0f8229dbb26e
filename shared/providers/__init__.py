"""The providers: one module each, what their answers have in common, and the class that loads them when first used.

A provider creates, reads, finds and cancels predictions, and verifies webhooks. It knows no job and no store.
"""
