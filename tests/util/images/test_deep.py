"""Images of more than 8 bits: the values of the file, whatever its type, and nothing of them lost."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.odd_files import png_chunks
from util.images.image_io import ImageError, read_image

HEIGHT, WIDTH = 40, 64
RAMP = np.linspace(0, 1, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH)
EXPECTED = np.rint(np.clip((RAMP - 0.001) / 0.998, 0, 1) * 255)  # by the percentiles 0.1 and 99.9
# name: (type, smallest, largest value)
TYPES = {
    "uint16": (np.uint16, 0, 65535),
    "uint32 above 2^31": (np.uint32, 2**31 - 1000, 2**32 - 1),
    "int8": (np.int8, -128, 127),
    "int16": (np.int16, -30000, 30000),
    "int32": (np.int32, -(2**31), 2**31 - 1),
    "int64": (np.int64, -(2**40), 2**40),
    "float16": (np.float16, -3.0, 500.0),
    "float32": (np.float32, -1e-3, 1e-3),
    "float64": (np.float64, 1e-12, 1e12),
}  # fmt: skip


def values(name: str) -> np.ndarray:
    kind, low, high = TYPES[name]
    array = low + RAMP * (float(high) - low)
    return (array if np.issubdtype(kind, np.floating) else np.rint(array)).astype(kind)


def written(path: Path, array: np.ndarray, **options: Any) -> Path:
    photometric = options.pop("photometric", "minisblack")
    tifffile.imwrite(path, array, photometric=photometric, metadata=None, **options)
    return path


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("name", TYPES)
def test_every_type_keeps_its_order(name: str, byteorder: Any, compression: str | None, tmp_path: Path):
    path = written(tmp_path / "a.tif", values(name), byteorder=byteorder, compression=compression)
    difference = read_image(path).luma - EXPECTED
    assert np.abs(difference).max() <= (2 if name in ("int8", "float16") else 1)  # these have few levels


@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits", "tiff_adobe_deflate"])
@pytest.mark.parametrize("name", ["uint16", "int32", "float32"])
def test_compressions_of_pillow(name: str, compression: str, tmp_path: Path):
    """LZW, which tifffile leaves to another package, among them."""
    Image.fromarray(values(name)).save(tmp_path / "a.tif", compression=compression)
    assert np.abs(read_image(tmp_path / "a.tif").luma - EXPECTED).max() <= 1


@pytest.mark.parametrize("kind", [np.uint16, np.uint32])
def test_the_smallest_value_may_be_white(kind: Any, tmp_path: Path):
    array = (RAMP * np.iinfo(kind).max).astype(kind)
    path = written(tmp_path / "a.tif", array, photometric="miniswhite")
    assert np.abs(read_image(path).luma - EXPECTED[::-1, ::-1]).max() <= 1
    full = np.iinfo(kind).max
    luma = read_image(path, (0, float(full))).luma  # the values are those that a viewer shows
    assert np.abs(luma - np.rint((1 - RAMP) * 255)).max() <= 1


def colours() -> np.ndarray:
    """A ramp in red, its half in green, nothing in blue."""
    return np.stack([RAMP * 4000, RAMP * 2000, RAMP * 0], axis=-1).astype(np.uint16)


def png16(array: np.ndarray, kind: int) -> bytes:
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    return png_chunks(array.shape[1], array.shape[0], 16, kind, (b"IDAT", zlib.compress(rows)))


@pytest.mark.parametrize("form", ["tiff", "planes", "png", "png with alpha", "tiff with alpha"])
def test_colour_of_16_bits_is_scaled_as_a_whole(form: str, tmp_path: Path):
    path = tmp_path / ("a.png" if form.startswith("png") else "a.tif")
    opaque = np.concatenate([colours(), np.full((HEIGHT, WIDTH, 1), 65535, np.uint16)], axis=-1)
    if form == "png":
        path.write_bytes(png16(colours(), 2))
    elif form == "png with alpha":
        path.write_bytes(png16(opaque, 6))
    elif form == "tiff with alpha":
        written(path, opaque, photometric="rgb", extrasamples=["unassalpha"])
    else:
        array = colours() if form == "tiff" else np.moveaxis(colours(), -1, 0)
        written(path, array, photometric="rgb", planarconfig="contig" if form == "tiff" else "separate")
    rgb = read_image(path).rgb
    assert rgb is not None
    red, green, blue = (rgb[..., channel].astype(int) for channel in range(3))
    assert red.max() == 255 and np.abs(red - RAMP * 255).max() <= 2
    assert np.abs(green - red / 2).max() <= 1 and not blue.any()
    fixed = read_image(path, (0, 8000)).rgb
    assert fixed is not None and abs(int(fixed.max()) - 127) <= 1


@pytest.mark.parametrize("form", ["tiff", "png"])
def test_what_is_transparent_is_black_and_has_no_part_in_the_scale(form: str, tmp_path: Path):
    array = np.stack([(RAMP * 4000).astype(np.uint16), np.full((HEIGHT, WIDTH), 65535, np.uint16)], axis=-1)
    array[:, :8] = (60000, 0)
    path = tmp_path / ("a.png" if form == "png" else "a.tif")
    if form == "png":
        path.write_bytes(png16(array, 4))
    else:
        written(path, array, planarconfig="contig", extrasamples=["unassalpha"])
    luma = read_image(path).luma
    assert not luma[:, :8].any() and np.abs(luma[:, 8:] - EXPECTED[:, 8:]).max() <= 3
    assert luma.max() == 255


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", [np.uint8, np.float64])
def test_turned_as_pillow_turns(orientation: int, kind: Any, tmp_path: Path):
    """Both readers turn an image of 8 bits, and one that only tifffile reads, alike."""
    grey = np.rint(RAMP * 255).astype(np.uint8)
    written(tmp_path / "a.tif", grey.astype(kind), extratags=[(274, 3, 1, orientation, True)])
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(grey).save(tmp_path / "b.png", exif=exif)
    one, other = (read_image(tmp_path / name, (0, 255)).luma for name in ("a.tif", "b.png"))
    np.testing.assert_array_equal(one, other)


# name: (options of tifffile, words of the reason)
BAD: dict[str, tuple[Callable[[Path], Any], str]] = {
    "stack": (lambda path: written(path, np.zeros((3, 40, 64), np.uint16)), "3 frames or pages"),
    "ImageJ's": (lambda path: tifffile.imwrite(path, np.zeros((3, 40, 64), np.uint16), imagej=True), "3 frames"),
    "five channels": (
        lambda path: written(path, np.zeros((40, 64, 5), np.uint16), planarconfig="contig"),
        "5 channels",
    ),
    "complex": (lambda path: written(path, np.zeros((40, 64), np.complex64)), "complex64"),
    "NaN": (lambda path: written(path, np.full((40, 64), np.nan)), "NaN"),
    "white of floats": (lambda path: written(path, RAMP, photometric="miniswhite"), "smallest value is white"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_refused_with_the_reason(name: str, tmp_path: Path):
    make, words = BAD[name]
    make(tmp_path / "a.tif")
    with pytest.raises(ImageError, match=rf"a\.tif: .*{words}"):
        read_image(tmp_path / "a.tif")


def test_cut_and_bombs(tmp_path: Path):
    path = written(tmp_path / "a.tif", values("float64"), compression="zlib")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ImageError, match=r"a\.tif: not a readable image|a\.tif: is not a readable image"):
        read_image(path)
    bomb = zlib.compress(bytes(50_000_000), 9)
    packed = zlib.compress(np.zeros((8, 8)).tobytes())
    written(path, np.zeros((8, 8)), compression="zlib")
    content = path.read_bytes()
    at = content.index(packed[:4])
    with tifffile.TiffFile(path) as file:
        page: Any = file.pages[0]
        (size,), count = page.databytecounts, page.tags["StripByteCounts"].valueoffset
    assert at and size
    out = bytearray(content[:at] + bomb)
    out[count : count + 4] = len(bomb).to_bytes(4, "little")
    path.write_bytes(out)
    with pytest.raises(ImageError, match="unpacks to more"):
        read_image(path)


def test_the_limit_of_pixels_can_be_moved(tmp_path: Path):
    Image.new("L", (64, 40)).save(tmp_path / "a.png")
    written(tmp_path / "a.tif", values("float64"))
    for name in ("a.png", "a.tif"):
        assert read_image(tmp_path / name, max_pixels=64 * 40).size == (40, 64)
        with pytest.raises(ImageError, match=r"too many pixels .*--max_pixels"):
            read_image(tmp_path / name, max_pixels=1000)
    before = Image.MAX_IMAGE_PIXELS
    assert before == 89_478_485  # as the documentation says


def test_too_little_memory_is_the_images_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def none(*_: Any, **__: Any) -> Any:
        raise MemoryError

    for name, where in (("a.png", "PIL.ImageFile.ImageFile.load"), ("a.tif", "tifffile.TiffPage.asarray")):
        Image.new("L", (64, 40)).save(tmp_path / "a.png")
        written(tmp_path / "a.tif", values("float64"))
        with monkeypatch.context() as patch:
            patch.setattr(where, none)
            with pytest.raises(ImageError, match=rf"{name}: there is too little memory"):
                read_image(tmp_path / name)
        with monkeypatch.context() as patch:
            patch.setattr(Path, "read_bytes", none)
            with pytest.raises(ImageError, match=rf"{name}: there is too little memory"):
                read_image(tmp_path / name)


def test_a_sparse_file_of_a_terabyte(tmp_path: Path):
    with (tmp_path / "a.png").open("wb") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(ImageError, match=r"a\.png: 1,099,511,627,776 bytes, more than an image may have"):
        read_image(tmp_path / "a.png")
