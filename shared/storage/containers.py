"""Whether a container of films holds sound only, from its first bytes.

ISO/IEC 14496-12 (MP4, MOV, 3GP) and RFC 9559 (Matroska, WebM). Whatever is not as they say gives no answer.
"""

from collections.abc import Callable, Iterator

Part = tuple[bytes, int, int]  # name, and the start and the end of the content, which may lie behind the first bytes
Walk = Callable[[bytes, int, int], Iterator[Part]]

EBML = b"\x1a\x45\xdf\xa3"
SEGMENT, TRACKS, TRACK, TRACK_TYPE = b"\x18\x53\x80\x67", b"\x16\x54\xae\x6b", b"\xae", b"\x83"
MATROSKA_FILM, MATROSKA_SOUND = b"\x01", b"\x02"  # types of tracks
NEXT_IS_TWO = (2).to_bytes(4, "big")


def holds_sound_only(first: bytes) -> bool:
    """Whether the file announces sound and no film; False too if its beginning does not show all tracks."""
    if first.startswith(EBML):
        tracks, film, sound = _matroska_tracks(first), MATROSKA_FILM, MATROSKA_SOUND
    else:
        tracks, film, sound = _mp4_tracks(first), b"vide", b"soun"
    return sound in tracks and film not in tracks


def _mp4_tracks(first: bytes) -> list[bytes]:
    """Returns the handler of each track; none if some may be missing."""
    for _, start, end in _found(first, _boxes, 0, len(first), b"moov"):
        # The last field of ``mvhd`` is the number for a further track: with 2, there is one. Its index may be long.
        headers = [first[ends - 4 : ends] for _, _, ends in _found(first, _boxes, start, end, b"mvhd")]
        handlers = [
            first[at + 8 : at + 12] for _, at, _ in _found(first, _boxes, start, end, b"trak", b"mdia", b"hdlr")
        ]
        return handlers if end <= len(first) or headers == [NEXT_IS_TWO] else []
    return []


def _matroska_tracks(first: bytes) -> list[bytes]:
    """Returns the type of each track; none if some may be missing."""
    for _, start, end in _found(first, _elements, 0, len(first), SEGMENT, TRACKS):
        if end <= len(first):
            return [first[at:ends] for _, at, ends in _found(first, _elements, start, end, TRACK, TRACK_TYPE)]
    return []


def _found(first: bytes, walk: Walk, start: int, end: int, name: bytes, *inside: bytes) -> Iterator[Part]:
    """Yields all parts at the path of names below a part."""
    for part in walk(first, start, end):
        if part[0] == name and inside:
            yield from _found(first, walk, part[1], part[2], *inside)
        elif part[0] == name:
            yield part


def _boxes(first: bytes, start: int, end: int) -> Iterator[Part]:
    while start + 8 <= min(end, len(first)):
        size, head = int.from_bytes(first[start : start + 4], "big"), 8
        if size == 1:
            size, head = int.from_bytes(first[start + 8 : start + 16], "big"), 16
        if size == 0:  # up to the end of what is around it
            size = end - start
        if size < head:
            return
        yield first[start + 4 : start + 8], start + head, start + size
        start += size


def _elements(first: bytes, start: int, end: int) -> Iterator[Part]:
    while start < min(end, len(first)) - 1:
        content = start + _width(first[start])
        width = _width(first[content]) if content < len(first) else 9
        if width > 8 or content + width > len(first):
            return
        size = int.from_bytes(first[content : content + width], "big") - (1 << 7 * width)
        ends = content + width + size if size < (1 << 7 * width) - 1 else end  # all ones: a live recording's
        yield first[start:content], content + width, ends
        start = ends


def _width(lead: int) -> int:
    """Returns how many bytes a number of Matroska has, by its first byte; 9 for an invalid one."""
    return 9 - lead.bit_length()
