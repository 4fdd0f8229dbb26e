"""The types of files that are decoded, and by which decoder."""

# No others: Pillow brings old decoders that are rarely reviewed. Pillow's names of formats by content type.
IMAGES = {
    "image/png": "PNG", "image/apng": "PNG", "image/jpeg": "JPEG", "image/webp": "WEBP", "image/gif": "GIF",
    "image/bmp": "BMP", "image/tiff": "TIFF", "image/avif": "AVIF",
}  # fmt: skip
# FFmpeg's demuxers by content type. Without one, FFmpeg guesses and accepts playlists, which name further files.
DEMUXERS = {
    "video/mp4": "mp4", "video/x-m4v": "mp4", "video/quicktime": "mp4", "video/3gpp": "mp4", "video/3gpp2": "mp4",
    "video/webm": "matroska", "video/x-matroska": "matroska", "video/ogg": "ogg",
    "video/x-msvideo": "avi", "video/x-ms-wmv": "asf", "video/mpeg": "mpeg", "video/mp2t": "mpegts",
    "video/x-flv": "flv",
    "audio/mp4": "mp4", "audio/3gpp": "mp4", "audio/webm": "matroska", "audio/x-matroska": "matroska",
    "audio/mpeg": "mp3", "audio/wav": "wav", "audio/x-wav": "wav", "audio/ogg": "ogg", "audio/x-ms-wma": "asf",
    "audio/flac": "flac", "audio/x-flac": "flac", "audio/aac": "aac", "audio/aiff": "aiff", "audio/x-aiff": "aiff",
    "audio/amr": "amr",
}  # fmt: skip


def is_decoded(content_type: str) -> bool:
    """Whether files of this type are examined."""
    return content_type in IMAGES or content_type in DEMUXERS
