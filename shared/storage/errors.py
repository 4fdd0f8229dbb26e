"""The error of the storage."""

from shared.storage.refusals import Refusal, refusal_in


class StorageError(Exception):
    """The storage did not do what was asked. The message names no key and no URL."""

    def __init__(self, message: str, refusal: Refusal | None = None) -> None:
        super().__init__(message)
        self.refusal = refusal or Refusal()


def storage_error(verb: str, error: Exception) -> StorageError:
    """Returns the error for a failure of obstore, with the class of that and what the server answered."""
    refusal = refusal_in(error)  # the text itself holds URLs and pieces of answers
    return StorageError(" ".join(filter(None, (f"{verb}: {type(error).__name__}", refusal.code))), refusal)
