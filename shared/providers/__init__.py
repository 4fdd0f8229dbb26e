"""The providers: one module each, the code that they share, and the class that loads them at their first use.

A provider creates, reads, finds and cancels predictions, and verifies webhooks. It knows no jobs and no store.
"""
