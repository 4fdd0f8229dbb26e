"""Prepares uploads of a user's pictures: they go directly to the storage, from where a model can fetch them."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.clock import iso
from shared.documents.answers import PreparedUpload
from shared.errors import InvalidRequest, NoStorage
from shared.jobs.request import Id
from shared.storage import layout
from shared.storage.bucket import Bucket
from shared.storage.retention import uploads_needed_for

# The types that may be uploaded, and the extensions of their keys. None of them runs in a browser.
EXTENSIONS = {"image/jpeg": "jpg", "image/png": "png", "image/webp": "webp", "image/gif": "gif"}


class UploadRequest(BaseModel):
    """The body of ``POST /api/uploads``; ``size`` in bytes."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    user_id: Id
    content_type: Literal["image/jpeg", "image/png", "image/webp", "image/gif"]
    size: Annotated[int, Field(ge=1)]


def prepare_upload(bucket: Bucket, caller: str, wanted: UploadRequest, now: int) -> PreparedUpload:
    """Returns a URL to PUT this file, with its headers and expiry, and the URL to read the file afterwards.

    Makes no call to the storage. Raises NoStorage, and InvalidRequest for a file that is too large.
    """
    settings = bucket.settings
    if not settings.storage_scheme:
        raise NoStorage
    if wanted.size > settings.upload_max_bytes:
        raise InvalidRequest(f"must be at most {settings.upload_max_bytes} bytes", field="size")
    key = layout.upload_key(now, caller, wanted.user_id, EXTENSIONS[wanted.content_type])
    upload_url, headers = bucket.upload_url(key, now, wanted.content_type, wanted.size)
    return {
        "upload_url": upload_url,
        "method": "PUT",
        "headers": headers,
        # A job that uses the file may wait as long as its queue allows, before the provider fetches it.
        "url": bucket.url(key, now, at_least=uploads_needed_for(settings)),
        "expires_at": iso((now // 1000 + settings.storage_url_ttl) * 1000),
    }
