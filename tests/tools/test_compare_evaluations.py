"""``python -m tools.compare_evaluations`` with a tiny prior."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from guided_diffusion.fusion import step_count
from guided_diffusion.gaussian_diffusion import GaussianDiffusion
from tests.conftest import PriorFiles, make_pair
from tools import compare_evaluations
from tools.compare_evaluations import Way


def test_table_and_picture(tmp_path: Path, tiny_prior: PriorFiles, capsys: pytest.CaptureFixture[str]):
    for stem in ("a", "b"):
        make_pair(tmp_path / "in", stem)
    line = [
        "--input",
        str(tmp_path / "in"),
        "--out",
        str(tmp_path / "out"),
        "--model_config",
        str(tiny_prior.config),
    ]
    line += ["--evaluations", "2", "3", "--reference_steps", "4", "--picture", str(tmp_path / "d.png")]
    assert compare_evaluations.main(line) == 0
    rows = [row for row in capsys.readouterr().out.splitlines() if row.startswith("|")][2:]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert cells[0][:2] == ["ddim", "4"] and cells[0][-2:] == ["0.00", "0"]
    assert [row[:2] for row in cells[1:3]] == [["ddim", "2"], ["ddim", "3"]]
    assert len(cells) == 9 and all(float(row[-2]) > 0 for row in cells[1:])
    steps = json.loads((tmp_path / "out/dpmpp_2m_3_400/run.json").read_text())
    assert steps["fusion_config"]["warm_start"] == 400
    with Image.open(tmp_path / "d.png") as shown:
        assert shown.width > 5 * 64 and shown.height > 2 * 64


@pytest.mark.parametrize("warm", [0, 200, 400])
@pytest.mark.parametrize("count", [10, 15, 25, 50])
def test_as_many_evaluations_as_it_says(count: int, warm: int):
    fusion, diffusion = Way("ddim", count, warm).configure(compare_evaluations.ROOT)
    assert step_count(GaussianDiffusion.from_config(diffusion), warm or None) == count
    assert fusion.warm_start == (warm or None)


def test_a_folder_without_pairs(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert compare_evaluations.main(["--input", str(tmp_path)]) == 2
    assert str(tmp_path) in capsys.readouterr().err
