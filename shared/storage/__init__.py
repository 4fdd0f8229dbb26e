"""Stored files: the bucket, the keys and states of a job's files, their URLs, and the copying of one."""
