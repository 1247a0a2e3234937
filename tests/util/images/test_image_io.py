"""Reading, rounding, stretching and writing images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from util.images.deep import scale_values
from util.images.image_io import ImageError, grey_from_rgb, is_coloured, read_image
from util.images.levels import round_to_uint8, stretch
from util.images.png import read_png_text, write_png


@given(st.tuples(*[st.integers(0, 255)] * 3))
def test_grey_is_the_rounded_weighted_sum(rgb: tuple[int, int, int]):
    exact = 299 * rgb[0] + 587 * rgb[1] + 114 * rgb[2]
    grey = int(grey_from_rgb(np.array([[rgb]], dtype=np.uint8))[0, 0])
    assert abs(1000 * grey - exact) <= 500


def test_grey_levels_stay_themselves():
    levels = np.arange(256, dtype=np.uint8)[None]
    np.testing.assert_array_equal(grey_from_rgb(np.stack([levels] * 3, axis=-1)), levels)


def test_grey_stored_as_rgb_is_not_coloured():
    grey = np.full((50, 50, 3), 90, np.uint8)
    grey[..., 2] += 5  # a slight tint, as compression leaves it
    assert not is_coloured(grey)
    grey[0, :10] = (200, 30, 30)
    assert is_coloured(grey)


@pytest.mark.parametrize("suffix, tolerance", [("png", 0), ("bmp", 0), ("tif", 0), ("webp", 12), ("jpg", 12)])
def test_formats(tmp_path: Path, suffix: str, tolerance: int):
    """Lossy formats may differ by the levels that a smooth ramp loses to compression."""
    ramp = np.tile(np.linspace(0, 255, 64).astype(np.uint8), (40, 1))
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(ramp).save(path)
    image = read_image(path)
    assert image.size == (40, 64)
    assert image.rgb is None
    assert np.abs(image.luma.astype(int) - ramp).max() <= tolerance


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "CMYK", "LA", "1"])
def test_modes_are_converted(tmp_path: Path, mode: str):
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    Image.new("RGB", (40, 36), (200, 40, 40)).convert(mode).save(path)
    image = read_image(path)
    assert image.size == (36, 40)
    assert (image.rgb is not None) == (mode in ("RGB", "RGBA", "P", "CMYK"))


def test_camera_orientation_is_undone(tmp_path: Path):
    path = tmp_path / "a.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by a quarter turn
    Image.new("L", (64, 40)).save(path, exif=exif)
    assert read_image(path).size == (64, 40)


def test_sixteen_bits_are_spread_over_eight(tmp_path: Path):
    """A thermal camera fills a few hundred of 65,536 levels; a dead pixel must not flatten the rest."""
    values = np.linspace(30000, 30400, 64 * 64).reshape(64, 64).astype(np.uint16)
    values[0, 0] = 65535
    path = tmp_path / "a.png"
    Image.fromarray(values).save(path)
    luma = read_image(path).luma
    assert luma.min() == 0 and luma.max() == 255
    assert 120 < np.median(luma) < 135


@pytest.mark.parametrize(
    "content, word",
    [
        (b"", "the file is empty"),
        (b"hello", "not a readable image"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 20, "not a readable image"),
        (None, "cannot be read .No such file"),
    ],
)
def test_unusable_files_are_named(tmp_path: Path, content: bytes | None, word: str):
    path = tmp_path / "bad.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ImageError, match=word) as caught:
        read_image(path)
    assert "bad.png" in str(caught.value)


def test_truncated_file(tmp_path: Path):
    path = tmp_path / "cut.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ImageError, match="not a readable image"):
        read_image(path)


def test_too_many_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "bomb.png"
    Image.new("L", (64, 64)).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ImageError, match="too many pixels"):
        read_image(path)


def test_float_image_with_nan(tmp_path: Path):
    values = np.zeros((40, 40), np.float32)
    values[3, 3] = np.nan
    path = tmp_path / "a.tif"
    Image.fromarray(values).save(path)
    with pytest.raises(ImageError, match="NaN"):
        read_image(path)


finite = st.floats(-1e6, 1e6)


@given(st.lists(finite, min_size=2, max_size=60), st.none() | st.tuples(finite, finite))
def test_scaling_keeps_order_and_both_ends(values: list[float], given_range: tuple[float, float] | None):
    """Deep values of any range: more is never darker, and what is beyond the range is black or white."""
    if given_range is not None:
        if given_range[0] == given_range[1]:
            return
        given_range = (min(given_range), max(given_range))
    array = np.array(values)
    out = scale_values(array, given_range).astype(int)
    assert (np.diff(out[np.argsort(array, kind="stable")]) >= 0).all()
    assert out.min() >= 0 and out.max() <= 255
    if given_range is not None:
        assert (out[array <= given_range[0]] == 0).all() and (out[array >= given_range[1]] == 255).all()
    elif array.min() == array.max():
        assert not out.any()
    else:
        assert out[array.argmin()] == 0 and out[array.argmax()] == 255


@given(st.integers(0, 60000), st.integers(1, 5000))
def test_scaling_is_linear_in_a_fixed_range(low: int, width: int):
    array = np.linspace(low, low + width, 256)
    np.testing.assert_array_equal(scale_values(array, (low, low + width)), np.arange(256))


def test_stretch_reaches_both_ends_and_survives_a_constant():
    ramp = np.linspace(-3, 5, 12, dtype=np.float32).reshape(3, 4)
    out = stretch(ramp)
    assert out.min() == 0 and out.max() == 255
    assert not stretch(np.ones((3, 3))).any()


def test_rounding_of_the_released_code_takes_halves_down():
    values = np.array([0.0, 0.5, 0.5 + 1e-6, 1.499, 1.5, 254.5, 255.0])
    np.testing.assert_array_equal(round_to_uint8(values), [0, 0, 1, 1, 1, 254, 255])


def test_text_chunks_come_back(tmp_path: Path):
    path = tmp_path / "sub" / "a.png"
    write_png(path, np.zeros((4, 4), np.uint8), {"ddfm": '{"a": 1}'})
    assert read_png_text(path) == {"ddfm": '{"a": 1}'}
    assert read_png_text(tmp_path / "none.png") == {}
