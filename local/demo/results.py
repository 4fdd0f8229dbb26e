"""The finished files: fetched from the deployment's storage, compared with the job's status, and kept."""

import hashlib
from pathlib import Path
from typing import Any

import httpx

from local.demo.following import FollowedJob
from local.stack import Stack

PNG = b"\x89PNG\r\n\x1a\n"
DOWNLOAD_SECONDS = 20.0
LETTERS_OF_ID = 12  # in a file's name: enough for five jobs


class UnusableResult(Exception):
    """A completed job whose stored file is missing, different or not playable."""


def clear(directory: Path) -> None:
    """Removes the files of earlier demos, and nothing else."""
    for file in directory.glob("job_*"):
        file.unlink()


def stored(job: FollowedJob) -> dict[str, Any]:
    """Returns the status's entry of the job's one file; raises UnusableResult unless it is stored."""
    files: list[dict[str, Any]] = job.document["files"]
    if len(files) != 1 or files[0]["state"] != "stored":
        raise UnusableResult(f"{job.id} has no stored file: {[file['state'] for file in files]}")
    return files[0]


def download(stack: Stack, job: FollowedJob, directory: Path) -> Path:
    """Downloads the job's file and returns its path; raises UnusableResult if that fails or the file is wrong."""
    authorization = {"Authorization": f"Bearer {stack.api_key}"}
    result = f"{stack.urls.functions}/api/jobs/{job.id}/result"
    try:
        with httpx.Client(timeout=DOWNLOAD_SECONDS, trust_env=False) as client:
            url = httpx.URL(client.get(result, headers=authorization).headers.get("Location", ""))
            content = client.get(url).raise_for_status().content  # the URL is signed; no key goes with it
    except httpx.HTTPError as error:
        raise UnusableResult(f"the result of {job.id} cannot be fetched: {type(error).__name__}") from None
    if hashlib.sha256(content).hexdigest() != stored(job)["sha256"] or str(url).startswith(str(stack.urls.provider)):
        raise UnusableResult(f"the result of {job.id} is not the stored copy that its status names")
    path = directory / f"{job.id[:LETTERS_OF_ID]}{Path(url.path).suffix}"
    if not _is_playable(content, path.suffix):
        raise UnusableResult(f"the result of {job.id} is not a playable {path.suffix[1:]} file")
    directory.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def _is_playable(content: bytes, suffix: str) -> bool:
    """Whether the content begins as its kind does: an MP4 begins with a box of type ftyp."""
    return content[4:8] == b"ftyp" if suffix == ".mp4" else content.startswith(PNG)
