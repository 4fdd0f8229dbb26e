"""The error of the storage."""


class StorageError(Exception):
    """The storage did not do what was asked. The message names no key and no URL."""
