"""Images of more than 8 bits a channel, signed or floating: their values as the file has them.

Pillow wraps, inverts or cuts off a part of these. tifffile reads TIFF; of a PNG in colour or with alpha, Pillow
decodes the upper and the lower bytes one after the other.
"""

from __future__ import annotations

import io
import logging
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

ValueRange = tuple[float, float]
OpenAs = Callable[[str, str], np.ndarray]

TOO_MANY_PIXELS = "has too many pixels to be opened safely; cut or shrink it, or raise --max_pixels"
TIFF_HEADS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

_UNPACKED, _DEFLATED = (1, 32773), (8, 32946)  # what tifffile reads by itself; 32773: PackBits
_TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {  # by the tag Orientation
    2: lambda values: values[:, ::-1],
    3: lambda values: values[::-1, ::-1],
    4: lambda values: values[::-1],
    5: lambda values: values.swapaxes(0, 1),
    6: lambda values: np.rot90(values, -1),
    7: lambda values: values[::-1, ::-1].swapaxes(0, 1),
    8: lambda values: np.rot90(values),
}
_ALPHA = 2  # of ExtraSamples; 1 has been multiplied with the others already, 0 is anything


class Unreadable(ValueError):
    """A file that cannot be read as it is; the message says why and what to do."""


@dataclass(frozen=True, eq=False)
class DeepImage:
    """Values in the range of the file: (H, W, 1) grey or (H, W, 3) RGB, of any type, and (H, W) alpha in [0, 1]."""

    values: np.ndarray
    alpha: np.ndarray | None = None

    def to_rgb(self, value_range: ValueRange | None) -> np.ndarray:
        """(H, W, 3) uint8: all channels scaled alike, see :func:`scale_values`; transparent parts become black.

        Raises Unreadable for values that are not finite.
        """
        self._check()
        levels = scale_values(self.values, self.own_range() if value_range is None else value_range)
        if self.alpha is not None:
            levels = np.rint(levels * self.alpha[..., None]).astype(np.uint8)
        return np.repeat(levels, 3, axis=2) if levels.shape[2] == 1 else levels

    def own_range(self) -> ValueRange:
        """The values that :func:`scale_values` chooses, of what can be seen. Raises Unreadable as :meth:`to_rgb`."""
        self._check()
        seen = self.values if self.alpha is None else self.values[self.alpha > 0]  # the rest may be anything
        return _bounds(seen if seen.size else self.values)

    def _check(self) -> None:
        if not np.isfinite(self.values).all():
            raise Unreadable("holds NaN or infinite values; replace them")


def scale_values(values: np.ndarray, value_range: ValueRange | None = None) -> np.ndarray:
    """Finite values of any range -> uint8, clipped to 0 ... 255 and rounded to nearest.

    ``value_range``: the values that become 0 and 255. None: the 0.1 and 99.9 percentiles, so that a dead pixel
    does not flatten the rest; or, where these are equal, the smallest and the largest value.
    """
    low, high = value_range or _bounds(values)
    if high <= low:
        return np.zeros(values.shape, np.uint8)
    return np.rint(np.clip((values.astype(np.float64) - low) / (high - low), 0, 1) * 255).astype(np.uint8)


def _bounds(values: np.ndarray) -> ValueRange:
    low, high = np.percentile(values, (0.1, 99.9))
    return (low, high) if high > low else (float(values.min()), float(values.max()))


def deep_png(content: bytes, open_as: OpenAs) -> DeepImage | None:
    """A PNG file of 16 bits in colour or with alpha; None if it is none.

    ``open_as`` decodes the file, upright, with another mode and raw mode of Pillow.
    """
    if not content.startswith(b"\x89PNG") or content[24:25] != b"\x10" or content[25:26] not in b"\2\4\6":
        return None
    kind = content[25]
    if kind == 4:  # grey and alpha, each with its upper byte first
        parts = open_as("RGBA", "RGBA").astype(np.uint16)
        values = parts[..., ::2] * 256 + parts[..., 1::2]
    else:
        mode = "RGB" if kind == 2 else "RGBA"
        values = open_as(mode, f"{mode};16B").astype(np.uint16) * 256 + open_as(mode, f"{mode};16L")
    if kind == 2:
        return DeepImage(values)
    return DeepImage(values[..., :-1], values[..., -1] / 65535)


def deep_tiff(content: bytes, most_pixels: float, plain: Callable[[], np.ndarray]) -> DeepImage | None:
    """A TIFF file of any but unsigned 8-bit values; None if it has these, which Pillow reads.

    ``plain``: Pillow's reading of a grey image, upright, for compressions that only it knows. Raises Unreadable, and
    what tifffile raises.
    """
    import tifffile  # here, for few images are TIFF, and it takes as long to import as ten others to read

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # errors are raised as well
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        page: Any = file.pages[0]
        if page.dtype is None or page.dtype.kind == "b" or page.dtype == np.uint8:
            return None
        count = max(len(file.pages), (file.imagej_metadata or {}).get("images", 1))
        if count > 1:
            raise Unreadable(f"holds {count} frames or pages; save the one to fuse as an image of its own")
        if page.imagewidth * page.imagelength > most_pixels:
            raise Unreadable(TOO_MANY_PIXELS)
        kind: np.dtype[Any] = page.dtype
        grey, extra = _layout(page, kind)
        if page.compression in (*_UNPACKED, *_DEFLATED) and page.predictor != 3:
            _check_strips(file, page)
            values = page.asarray()
            values = np.moveaxis(values, 0, -1) if page.axes == "SYX" else values
            values = values.reshape(page.imagelength, page.imagewidth, -1)
            values = _TURNS.get(page.tags.valueof(274, 1), lambda same: same)(values)
        elif grey and not extra and kind.str[1:] in ("u2", "i2", "u4", "i4", "f4", "i1"):
            values = plain().astype(kind)[..., None]  # 32 bits and signed bytes come as their bits
        else:
            raise Unreadable(
                f"is a {kind} TIFF of compression {page.compression.name}; save it uncompressed or with deflate"
            )
    channels = values[..., : 1 if grey else 3]
    if page.photometric == 0:  # the smallest value is white
        channels = np.iinfo(kind).max - channels
    if extra != (_ALPHA,):
        return DeepImage(channels)
    full = 1.0 if kind.kind == "f" else np.iinfo(kind).max
    return DeepImage(channels, np.clip(values[..., -1] / full, 0, 1))


def _layout(page: Any, kind: np.dtype[Any]) -> tuple[bool, tuple[int, ...]]:
    """Whether it is grey, and what its further channels are. Raises Unreadable for what is neither grey nor RGB."""
    extra = tuple(int(value) for value in page.extrasamples)
    photometric, channels = int(page.photometric), page.samplesperpixel
    grey = photometric in (0, 1)
    known = photometric in (0, 1, 2) and channels - len(extra) == (1 if grey else 3)
    if not known or len(extra) > 1 or page.axes not in ("YX", "YXS", "SYX") or kind.kind not in "iuf":
        raise Unreadable(
            f"is a {kind} TIFF of {channels} channels, photometric {photometric}; save it as grey or RGB"
        )
    if photometric == 0 and kind.kind != "u":
        raise Unreadable(
            f"is a {kind} TIFF whose smallest value is white; save it with black as the smallest"
        )
    return grey, extra


def _check_strips(file: Any, page: Any) -> None:
    """Raise Unreadable if the strips or tiles are not there, or unpack to more than they are to hold."""
    whole = page.imagewidth * page.imagelength * page.samplesperpixel
    most = min(whole, int(np.prod(page.chunks)) if page.is_tiled else whole) * page.dtype.itemsize
    for offset, size in zip(page.dataoffsets, page.databytecounts, strict=True):
        file.filehandle.seek(offset)
        packed = file.filehandle.read(size)
        if len(packed) != size or size == 0:
            raise Unreadable("is not a readable image (its end is missing); replace it with a whole copy")
        if page.compression in _DEFLATED and len(zlib.decompressobj().decompress(packed, most + 1)) > most:
            raise Unreadable("is not a readable image (it unpacks to more than its size); replace it")
