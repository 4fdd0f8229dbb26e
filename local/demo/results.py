"""The finished files: fetched from the provider, checked, and kept."""

from pathlib import Path

import httpx

from local.demo.pursuit import Pursued

PNG = b"\x89PNG\r\n\x1a\n"
DOWNLOAD_SECONDS = 20.0


class UnusableResult(Exception):
    """A completed job whose output is not the file it should be."""


def clear(directory: Path) -> None:
    """Removes the files of earlier demos, and nothing else."""
    for file in directory.glob("job_*"):
        file.unlink()


def download(job: Pursued, directory: Path) -> Path:
    """Returns the path of the job's output file; raises UnusableResult if it cannot be had or played."""
    url = job.document["output"]
    if not isinstance(url, str):
        raise UnusableResult(f"{job.id} has no file as output")
    try:
        content = httpx.get(url, timeout=DOWNLOAD_SECONDS, trust_env=False).raise_for_status().content
    except httpx.HTTPError as error:
        raise UnusableResult(f"the output of {job.id} cannot be fetched: {type(error).__name__}") from None
    path = directory / f"{job.id}{Path(httpx.URL(url).path).suffix}"
    if not _is_playable(content, path.suffix):
        raise UnusableResult(f"the output of {job.id} is no {path.suffix[1:]} file")
    directory.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def _is_playable(content: bytes, suffix: str) -> bool:
    """Whether the content begins as its kind does: an MP4 with a box of type ftyp."""
    return content[4:8] == b"ftyp" if suffix == ".mp4" else content.startswith(PNG)
