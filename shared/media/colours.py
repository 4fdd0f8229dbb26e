"""Brings the colours of pictures and films to sRGB, which is what a thumbnail without a profile means.

Runs in the child only.
"""

import functools
import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageCms, ImageMath

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

Triple = tuple[float, float, float]

# Numbers of ITU-T H.273: transfer characteristics, and colour primaries.
PQ, HLG = 16, 18  # of HDR10, and of broadcasts and phones
BT2020, P3_DCI, P3 = 9, 11, 12
TO_BT709: dict[int, tuple[Triple, Triple, Triple]] = {  # of linear light; ITU-R BT.2087, SMPTE EG 432-1
    BT2020: ((1.6605, -0.5876, -0.0728), (-0.1246, 1.1329, -0.0083), (-0.0182, -0.1006, 1.1187)),
    P3: ((1.2249, -0.2247, 0.0), (-0.0420, 1.0419, 0.0), (-0.0197, -0.0786, 1.0979)),
}
TO_BT709[P3_DCI] = TO_BT709[P3]  # the white differs little
SAME: tuple[Triple, Triple, Triple] = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
WHITE = 203.0  # cd/m2 of a white page in an HDR film; ITU-R BT.2408
PQ_PEAK = 10_000.0
HLG_PEAK, HLG_GAMMA = 1000.0, 1.2  # of the display that ITU-R BT.2100 takes for granted
DARK = 1e-6  # of white; nothing is divided by less
KNEE = 0.6  # of white; brighter light is compressed into the rest

# Modes of pictures that a profile of this colour space applies to, and the mode to convert from.
SPACES = {"RGB": ("RGB", ("RGB", "RGBA", "P", "PA")), "GRAY": ("L", ("L", "LA")), "CMYK": ("CMYK", ("CMYK",))}


class Profile:
    """A picture's ICC profile, or none; a broken one counts as none."""

    def __init__(self, image: "Picture") -> None:
        self.mode = ""  # of pictures that it converts; '' without a profile
        if image.mode == "LAB":
            self.mode, self._profile = "LAB", ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
        elif image.info.get("icc_profile"):
            try:
                profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
                mode, kinds = SPACES.get(profile.profile.xcolor_space.strip(), ("", ()))
            except (OSError, ValueError, TypeError):
                return
            if image.mode in kinds:
                self.mode, self._profile = mode, profile

    def to_srgb(self, picture: "Picture") -> "Picture":
        """Returns a picture of this profile's mode as RGB in sRGB."""
        try:
            converted = ImageCms.profileToProfile(picture, self._profile, _srgb(), outputMode="RGB")
        except (ImageCms.PyCMSError, OSError, ValueError):
            converted = None
        return converted or picture.convert("RGB")


def is_plain(transfer: int, primaries: int) -> bool:
    """Whether a film of these has colours that are near enough to sRGB."""
    return transfer not in (PQ, HLG) and primaries not in TO_BT709


def to_srgb(bands: Sequence["Picture"], transfer: int, primaries: int) -> "Picture":
    """Returns a film's picture in sRGB from its red, green and blue signals from 0 to 1; HDR is tone-mapped."""
    matrix = TO_BT709.get(primaries, SAME)
    signals = dict(zip(("red", "green", "blue"), bands, strict=True))
    made = [ImageMath.lambda_eval(_band(row, transfer, matrix), **signals) for row in matrix]
    return Image.merge("RGB", [band.convert("L") for band in made])


@functools.cache
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def _band(row: Triple, transfer: int, matrix: Sequence[Triple]) -> Any:
    """Returns what computes one band in sRGB. ImageMath's operands stand for pictures of a signal or of light."""

    def computed(given: Mapping[str, Any]) -> Any:
        most, least = given["max"], given["min"]
        light = [_light(given[name], transfer, most, least) for name in ("red", "green", "blue")]
        if transfer == HLG:  # the display adds contrast to the scene
            luminance = most(_sum((0.2627, 0.6780, 0.0593), light), DARK)
            light = [value * luminance ** (HLG_GAMMA - 1) * (HLG_PEAK / WHITE) for value in light]
        value = _sum(row, light)
        if transfer in (PQ, HLG):
            # The brightest colour comes below 1, and the colours keep their proportions.
            red, green, blue = (_sum(other, light) for other in matrix)
            brightest = most(most(most(red, green), blue), DARK)
            above = most(brightest - KNEE, 0.0)
            value *= (brightest - above + above * (1 - KNEE) / (above + (1 - KNEE))) / brightest
        value = least(most(value, 0.0), 1.0)
        # Of sRGB's two pieces, the linear one ends at this signal.
        signal = most(value ** (1 / 2.4) * 1.055 - 0.055, least(value * 12.92, 0.04045))
        return signal * 255 + 0.5

    return computed


def _light(signal: Any, transfer: int, most: Any, least: Any) -> Any:
    """Returns the linear light of a signal: of HLG that of the scene, else in parts of white."""
    signal = least(most(signal, 0.0), 1.0)
    if transfer == PQ:  # SMPTE ST 2084
        root = signal ** (1 / 78.84375)
        power = most(root - 0.8359375, 0.0) / (root * -18.6875 + 18.8515625)
        return power ** (1 / 0.1593017578125) * (PQ_PEAK / WHITE)
    if transfer == HLG:  # ITU-R BT.2100; each piece is constant where the other one counts
        low, high = least(signal, 0.5), most(signal, 0.5)
        return low * low / 3 + (math.e ** ((high - 0.55991073) / 0.17883277) + 0.28466892) / 12 - 1 / 12
    low, high = least(signal, 0.04045), most(signal, 0.04045)
    return low / 12.92 + ((high + 0.055) / 1.055) ** 2.4 - 0.04045 / 12.92


def _sum(factors: Triple, values: Sequence[Any]) -> Any:
    return values[0] * factors[0] + values[1] * factors[1] + values[2] * factors[2]
