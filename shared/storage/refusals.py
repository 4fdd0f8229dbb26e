"""Why an S3 server refused a call, in words for the operator's log: a wrong bucket, key, region or host."""

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from shared.frozen import dataclass

if TYPE_CHECKING:
    from shared.storage.bucket import Bucket

MAX_READ = 20_000  # characters of an error that are searched
# obstore has neither S3's code nor the status in an attribute. Its text holds URLs and what S3 read of the request, so
# only these pieces leave it.
STATUS = re.compile(r"status code: (\d{3})\b")
CODE = re.compile(r"<Code>([A-Za-z0-9]{1,60})</Code>|\(code: ([A-Za-z0-9]{1,60})\)")
REGION = re.compile(r"<Region>([a-z0-9-]{1,40})</Region>")
BARE_REDIRECT = "redirect without LOCATION"  # S3's PermanentRedirect is one: obstore drops its body
# What a step of the check needs, by the names of S3's rights; an R2 token needs "Object Read & Write".
RIGHTS = {"write": "s3:PutObject", "read": "s3:GetObject", "list": "s3:ListBucket", "delete": "s3:DeleteObject"}
DENIED = ("AccessDenied", "AllAccessDisabled", "AccountProblem")
WRONG_SECRET = ("SignatureDoesNotMatch",)
UNKNOWN_KEY = ("InvalidAccessKeyId", "Unauthorized", "NotSignedUp")
WRONG_TOKEN = ("InvalidToken", "ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired")
NO_BUCKET = ("NoSuchBucket", "InvalidBucketName")
WRONG_REGION = ("PermanentRedirect", "AuthorizationHeaderMalformed", "InvalidRegionName", "TemporaryRedirect",
                "IllegalLocationConstraintException")  # fmt: skip
WRONG_CLOCK = ("RequestTimeTooSkewed", "RequestExpired")


@dataclass(frozen=True)
class Refusal:
    """What an S3 server answered: its status, 0 if unknown, its error code, and the region that it expects."""

    status: int = 0
    code: str = ""
    region: str = ""


def refusal_in(error: Exception) -> Refusal:
    """Reads what the server answered from an error of obstore."""
    text = str(error)[:MAX_READ].partition("Debug source")[0]
    status, code, region = STATUS.search(text), CODE.search(text), REGION.search(text)
    if BARE_REDIRECT in text:
        return Refusal(301, "PermanentRedirect")
    return Refusal(
        int(status.group(1)) if status else 0,
        (code.group(1) or code.group(2)) if code else "",
        region.group(1) if region else "",
    )


def cause_of(refusal: Refusal, step: str, bucket: "Bucket") -> dict[str, str]:
    """Returns what to mend: ``needs`` names a right that is missing, ``trouble`` everything else."""
    # The answer to a HEAD has no code. After a write that worked, it is no other server's.
    is_bare = refusal == Refusal(403) and step != "write"
    if refusal.code in DENIED or is_bare:
        return {"needs": RIGHTS[step]}
    return {"trouble": _trouble_of(refusal, bucket)}


def _trouble_of(refusal: Refusal, bucket: "Bucket") -> str:
    code, host = refusal.code, urlsplit(bucket.server).hostname or ""
    expected = f"; it is {refusal.region}" if refusal.region else ""
    texts = (
        (NO_BUCKET, f"{host} has no bucket {bucket.bucket}: see STORAGE_URL and STORAGE_ENDPOINT"),
        (WRONG_SECRET, "STORAGE_SECRET_ACCESS_KEY is wrong for this STORAGE_ACCESS_KEY_ID"),
        (UNKNOWN_KEY, f"{host} does not know STORAGE_ACCESS_KEY_ID"),
        (WRONG_TOKEN, "the session token is wrong, or no longer valid"),
        (WRONG_REGION, f"the region {bucket.region} is wrong for the bucket {bucket.bucket}{expected}:"
                       " see STORAGE_REGION and STORAGE_ENDPOINT"),
        (WRONG_CLOCK, "this machine's clock is wrong"),
    )  # fmt: skip
    found = next((text for codes, text in texts if code in codes), "")
    if found or code:
        return found or f"{host} answered {refusal.status or 'an error'} {code}"
    if refusal.status >= 500:
        return f"{host} answered {refusal.status}"
    answered = f"answered {refusal.status}" if refusal.status else "answers"
    return f"{host} {answered}, but not as S3 does: see STORAGE_ENDPOINT"
