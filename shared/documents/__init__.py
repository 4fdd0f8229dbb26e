"""The public documents that owners and operators get of jobs, batches and files, each with its type.

Functions here make them from records; they read and write nothing. Answers of calls (``jobs``, ``functions``) and the
bodies of events (``hooks``) share them.
"""
