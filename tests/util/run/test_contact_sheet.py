"""``--contact_sheet``: a page with all results and their sources."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import sample
from tests.conftest import make_pair
from util.images.image_io import decode_rgb, read_image
from util.images.sheet import GAP, caption
from util.run import contact_sheet


def run(tmp_path: Path, *more: str) -> int:
    line = ["--input", str(tmp_path / "input"), "--save_dir", str(tmp_path / "output")]
    return sample.main([*line, "--preset", "local_fast", "--contact_sheet", *more])


def page(tmp_path: Path, name: str = "contact_sheet.png") -> np.ndarray:
    path = tmp_path / "output" / name
    return decode_rgb(path.read_bytes(), name)


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    for stem in ("a", "b", "c"):
        make_pair(tmp_path / "input", stem, (160, 200), "vi" if stem == "b" else "")
    return tmp_path


def test_a_row_for_each_pair_with_sources_and_results(pairs: Path, capsys: pytest.CaptureFixture[str]):
    assert run(pairs) == 0
    assert f"contact sheet: {pairs / 'output/contact_sheet.png'}" in capsys.readouterr().out
    sheet, line = page(pairs), len(caption("a", 9))
    width, step = 200 + GAP, line + GAP + contact_sheet.HEIGHT + GAP
    assert sheet.shape == (3 * step - GAP, 4 * width - GAP, 3)
    for number, stem in enumerate("abc"):
        names = [f"input/ir/{stem}", f"input/vi/{stem}", f"output/recon/{stem}"]
        names += [f"output/color/{stem}"] * (stem == "b")
        top = number * step + line + GAP
        for place, name in enumerate(names):
            image = read_image(pairs / f"{name}.png")
            rgb = np.repeat(image.luma[:, :, None], 3, axis=2) if image.rgb is None else image.rgb
            shown = sheet[top : top + 160, place * width : place * width + 200]
            assert np.array_equal(shown, rgb), name
        assert sheet[number * step : top - GAP].min() < 100  # its name
    assert (sheet[:step, 3 * width :] == 255).all()  # no colour in the first


def test_bad_pairs_are_left_out_and_old_pages_go(
    pairs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(contact_sheet, "PAGE", 2)
    assert run(pairs) == 0
    heights = [len(page(pairs, name)) for name in ("contact_sheet.png", "contact_sheet_2.png")]
    assert heights[0] == 2 * heights[1] + GAP
    (pairs / "input/ir/b.png").write_bytes(b"none")
    capsys.readouterr()
    assert run(pairs) == 1
    assert len(page(pairs)) == heights[0] and not (pairs / "output/contact_sheet_2.png").exists()
    assert "contact_sheet_2" not in capsys.readouterr().out


def test_a_sheet_that_cannot_be_written_is_told(
    pairs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(contact_sheet, "write_png", full)
    assert run(pairs) == 1
    out = capsys.readouterr().out
    assert "3 fused" in out and "no contact sheet: it cannot be written (No space left on device)" in out


def test_one_file_has_no_sheet(pairs: Path, capsys: pytest.CaptureFixture[str]):
    files = ["--ir", str(pairs / "input/ir/a.png"), "--vi", str(pairs / "input/vi/a.png")]
    assert sample.main([*files, "-o", str(pairs / "a.png"), "--contact_sheet"]) == 2
    assert "contact sheets lie in a folder" in capsys.readouterr().err
