"""Scopes: what a credential allows. Each operation of an application needs exactly one; an operator's need OPERATE."""

from enum import StrEnum


class Scope(StrEnum):
    """A right that a credential carries."""

    READ = "read"  # jobs, batches and results
    SUBMIT = "submit"  # jobs, batches and uploads
    CANCEL = "cancel"  # a job or a batch
    MANAGE = "manage"  # retry, delete, erase, deliver again, read hook secrets, issue tokens
    OPERATE = "operate"  # what OPERATOR_TOKEN may do; a right of keys of the store only


ALL = frozenset(Scope) - {Scope.OPERATE}  # of each key in API_KEYS
OF_USERS = ALL - {Scope.MANAGE}  # that a user's token may have
