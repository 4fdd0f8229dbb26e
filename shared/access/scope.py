"""Scopes: what a credential allows of an application's operations. Each of these operations needs exactly one."""

from enum import StrEnum


class Scope(StrEnum):
    """A right that a credential carries."""

    READ = "read"  # jobs, batches and results
    SUBMIT = "submit"  # jobs, batches and uploads
    CANCEL = "cancel"  # a job or a batch
    OPERATE = "operate"  # all else: retry, delete, erase, deliver again, read hook secrets, issue tokens


ALL = frozenset(Scope)  # of each key in API_KEYS
OF_USERS = ALL - {Scope.OPERATE}  # that a user's token may have
