"""Kept files: the bucket, the names and states of a job's files, their links, and the stream that copies one."""
