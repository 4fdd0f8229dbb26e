"""The operations of applications and operators: submit, status, list, cancel, retry, batches, limits, erasure."""
