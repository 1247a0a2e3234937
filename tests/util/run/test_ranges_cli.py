"""``--ir_range`` and ``--vi_range``: images of more than 8 bits that stay comparable over a folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import sample
from tests.conftest import make_pair
from util.images.png import read_png_text

SampleRun = Callable[..., int]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SampleRun:
    """Fuses three pairs by ``local_fast``; infrared images have 16 bits, from 1000 + 1000 n to 3000 + 1000 n."""
    monkeypatch.chdir(tmp_path)
    for number in range(3):
        make_pair(Path("in"), f"f{number}", seed=number)
        path = Path(f"in/ir/f{number}.png")
        with Image.open(path) as image:
            grey = np.asarray(image).astype(np.float64)
        scaled = (grey - grey.min()) / (grey.max() - grey.min()) * 2000 + 1000 * (number + 1)
        Image.fromarray(np.rint(scaled).astype(np.uint16)).save(path)
    line = ["--preset", "local_fast", "--device", "cpu", "--input", "in", "--save_dir", "out"]
    return lambda *more: sample.main([*line, *more])


def recorded() -> dict[str, Any]:
    """The fusion configuration that the first result carries."""
    return json.loads(read_png_text(Path("out/recon/f0.png"))["ddfm"])["fusion_config"]


def test_one_range_for_a_sequence(run: SampleRun, capsys: pytest.CaptureFixture[str]):
    assert run("--ir_range", "sequence", "--vi_range", "sequence") == 0
    error = capsys.readouterr().err
    assert "vi_range of 3 images: none has more than 8 bits" in error and "ir_range of 3 images: 1" in error
    low, high = recorded()["ir_range"]
    assert 1000 <= low < 1100 and 4900 < high <= 5000  # percentiles of the first and of the last
    assert recorded()["vi_range"] is None
    first = Path("out/recon/f0.png").read_bytes()
    # said as numbers it is the same configuration, and a part of the pairs has the range of all
    assert run("--ir_range", f"{low!r},{high!r}") == 0
    assert "3 skipped" in capsys.readouterr().out
    assert run("--ir_range", "sequence", "--limit", "1", "--overwrite") == 0
    assert Path("out/recon/f0.png").read_bytes() == first
    assert run() == 0
    assert "3 fused" in capsys.readouterr().out and recorded()["ir_range"] is None


def test_a_file_that_cannot_be_read_fails_alone_and_has_no_say(
    run: SampleRun, capsys: pytest.CaptureFixture[str]
):
    Path("in/ir/f2.png").write_bytes(b"no image")
    assert run("--ir_range", "sequence") == 1
    assert "2 fused, 0 skipped, 1 failed" in capsys.readouterr().out
    assert 3900 < recorded()["ir_range"][1] <= 4000


def test_two_values(run: SampleRun):
    assert run("--ir_range=-5,70000.5") == 0
    assert recorded()["ir_range"] == [-5.0, 70000.5]


def test_a_range_in_a_file(run: SampleRun):
    Path("f.yaml").write_text("em: {variant: local_fast}\nprior: false\nir_range: sequence\n")
    assert run("--fusion_config", "f.yaml") == 0
    assert 1000 <= recorded()["ir_range"][0] < 1100


@pytest.mark.parametrize("values", ["sequnce", "5", "1,2,3", "a,b", ""])
def test_what_is_no_range(run: SampleRun, values: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        run("--ir_range", values)
    assert "neither sequence nor LOW,HIGH" in capsys.readouterr().err


@pytest.mark.parametrize("values", ["5,5", "7,3", "nan,1", "0,inf"])
def test_a_range_without_extent(run: SampleRun, values: str, capsys: pytest.CaptureFixture[str]):
    assert run("--ir_range", values) == 2
    assert "ir_range is" in capsys.readouterr().err and not Path("out").exists()
