"""The public documents: what owners and the operator see of jobs, batches and files, each with its type.

They are made of records that others have read; nothing here reads or writes. Answers of calls (``jobs``, ``functions``)
and the bodies of events (``hooks``) share them.
"""
