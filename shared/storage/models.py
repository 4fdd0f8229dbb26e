"""Text formats of 3D models, which only their URL's name tells from other text."""

import re

from shared.storage.addresses import extension_of

WAVEFRONT = re.compile(rb"(?m)^(?:#.*|(?:v|vn|vt|vp|f|l|o|g|s|mtllib|usemtl)[ \t]\S.*)$")
# Content type, and what the text must hold: a name alone is its sender's claim.
MODELS = {
    "obj": ("model/obj", WAVEFRONT),
    "stl": ("model/stl", re.compile(rb"\s*solid\b")),
    "gltf": ("model/gltf+json", re.compile(rb"(?:\xef\xbb\xbf)?\s*\{")),
    "mtl": ("model/mtl", re.compile(rb"(?m)^newmtl\s")),
    "fbx": ("application/x-fbx", re.compile(rb"; FBX \d")),
    "ply": ("model/ply", re.compile(rb"ply\r?\n")),
    "usda": ("model/vnd.usda", re.compile(rb"#usda \d")),
}
STL_HEADER, STL_COUNT, STL_TRIANGLE = 80, 4, 50  # bytes of the binary form


def model_of(first: bytes, url: str, *, is_text: bool) -> tuple[str, str] | None:
    """Returns the content type and the extension, if the URL names a model and the first bytes may be one."""
    extension = extension_of(url)
    if not is_text:
        return (MODELS["stl"][0], "stl") if extension == "stl" and _is_binary_stl(first) else None
    content_type, pattern = MODELS.get(extension, ("", None))
    return (content_type, extension) if pattern is not None and pattern.search(first) else None


def _is_binary_stl(first: bytes) -> bool:
    triangles = int.from_bytes(first[STL_HEADER : STL_HEADER + STL_COUNT], "little")
    return 0 < triangles and len(first) <= STL_HEADER + STL_COUNT + triangles * STL_TRIANGLE
