"""Answers for which a platform has no room: outputs are left out of them, with a link to their pieces."""

import hashlib
import json
import os
from collections.abc import Mapping

from shared.documents.answers import OutputPiece
from shared.documents.batch import BatchDocument, BatchResult
from shared.documents.job import JobDocument, links
from shared.errors import OutputChanged
from shared.json_value import Json

LAMBDA = 6 * 1024 * 1024  # bytes of an invocation's answer, in which the body is a JSON string (AWS Lambda, "Quotas")
VERCEL = 4_500_000  # bytes of a body (Vercel, "Functions limits": 4.5 MB)
HEADROOM = 64 * 1024  # for headers, and for what the body is in
# Characters of an output's JSON in one piece. Each quotation mark of it takes four bytes on Lambda.
PIECE = 1_000_000
DIGEST = 12  # characters of the digest in a link: it shows a change, and protects nothing
MAX_IN_PAGE = 32 * 1024  # bytes of an output that stays in a page of a batch that is cut


def has_room(body: bytes, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the platform of this process passes an answer with this body of JSON in ASCII."""
    if "AWS_LAMBDA_FUNCTION_NAME" in environ:
        escaped = len(body) + body.count(b'"') + body.count(b"\\")
        return escaped <= LAMBDA - HEADROOM
    return "VERCEL" not in environ or len(body) <= VERCEL - HEADROOM


def cut_job(document: JobDocument) -> bytes:
    """Returns the job as JSON without its output, and with the link to it."""
    cut: JobDocument = {**document, "output": None, "output_link": _link(document["id"], 0)}
    return _text(cut).encode()


def cut_page(document: BatchDocument) -> bytes:
    """Returns the batch as JSON with a page for which there is room: large outputs are links, and it may be shorter."""
    ids = {job["number"]: job["id"] for job in document["jobs"]}
    results = [_cut_result(result, ids[result["number"]]) for result in document["results"]]
    cut: BatchDocument = {**document, "results": results}
    # What is still too large has very many files, each with its URL.
    while not has_room(body := _text(cut).encode()) and len(cut["results"]) > 1:
        kept = cut["results"][: len(cut["results"]) // 2]
        cut = {**cut, "results": kept, "next_first": kept[-1]["number"] + 1}
    return body


def piece_of(job_id: str, output: Json, start: int, digest: str | None = None) -> OutputPiece:
    """Returns a piece of the output's JSON from this character on, and the link to the next piece.

    The link has the digest of the whole text. Raises OutputChanged if ``digest`` is that of another text: URLs in the
    output change once its files are stored, and when their signatures expire.
    """
    text, end = _text(output), start + PIECE
    found = hashlib.sha256(text.encode()).hexdigest()[:DIGEST]
    if digest not in (None, found):  # mutant: pieces of one text
        raise OutputChanged
    return {"text": text[start:end], "next": f"{_link(job_id, end)}&of={found}" if end < len(text) else None}


def _cut_result(result: BatchResult, job_id: str) -> BatchResult:
    if len(_text(result["output"])) <= MAX_IN_PAGE:
        return result
    return {**result, "output": None, "output_link": _link(job_id, 0)}


def _text(value: Json | JobDocument | BatchDocument) -> str:
    return json.dumps(value, separators=(",", ":"))


def _link(job_id: str, start: int) -> str:
    return f"{links(job_id)['result']}?from={start}"
