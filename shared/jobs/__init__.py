"""What an application or an operator may ask for: submit, status, list, cancel, retry, batches, limits, erasure."""
