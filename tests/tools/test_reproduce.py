"""``python -m tools.reproduce`` on small made-up data, and what its checks find in images whose answer is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from guided_diffusion.config import DiffusionConfig
from guided_diffusion.em_paper import Paper
from guided_diffusion.em_released import Released
from guided_diffusion.fusion import fuse
from guided_diffusion.gaussian_diffusion import GaussianDiffusion
from guided_diffusion.local.em import Local
from guided_diffusion.ycbcr import luma_tensor
from tests.conftest import PriorFiles, make_pair
from tools import reproduce
from tools.reproduction.alone import AsPrinted, em_alone
from tools.reproduction.grid import Run
from util.evaluation.metrics import evaluate
from util.images.image_io import read_image
from util.images.levels import levels_of, round_to_uint8


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for stem in ("a", "b"):
        make_pair(tmp_path / "data/RoadScene", stem)
        make_pair(tmp_path / "data/MRI_PET", stem)
    return tmp_path / "data"


RUNS = ["released:alone:3", "released:ddim:2", "released:ddpm:3:1"]


def run(data: Path, out: Path, prior: PriorFiles, *more: str) -> int:
    line = ["--data", str(data), "--out", str(out), "--model_config", str(prior.config), "--runs", *RUNS]
    return reproduce.main([*line, *more])


def table(text: str, start: str) -> dict[str, list[str]]:
    """The rows of the Markdown table whose head begins so, by their first cell."""
    part = text[text.index(f"| {start}") :].split("\n\n")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in part.splitlines()]
    return {row[0]: row[1:] for row in rows}


def test_every_table_is_made_and_put_into_the_document(
    data: Path, tmp_path: Path, tiny_prior: PriorFiles, capsys: pytest.CaptureFixture[str]
):
    document = tmp_path / "R.md"
    names = ("grid", "alone", "beside", "shared", "copies", "distance", "stretch", "definitions", "borders")
    document.write_text("".join(f"# {name}\n\n<!-- {name} -->\n<!-- end -->\n\n" for name in names))
    assert run(data, tmp_path / "out", tiny_prior, "--document", str(document)) == 0
    text = document.read_text()
    assert text.count("<!-- end -->") == len(names) and "nan" not in text
    grid = table(text, "RoadScene | images")
    assert grid["*DDFM*"][1:] == ["7.41", "52.61", "2.35", "0.75", "0.65", "0.98"]
    assert grid["released, ddim, 2 steps"][0] == "2" and grid["released, ddpm, 3 steps"][0] == "1 of 2"
    shared = table(text, "RoadScene, 1 pairs")
    assert {"released, ddim, 2 steps", "released, ddpm, 3 steps"} < set(shared)
    beside = table(text, " | pairs | VIF")
    alone = table(text, "RoadScene, 1 pairs")["released, EM alone, 3 iterations"]
    assert beside["RoadScene, released, ddpm, 3 steps"][::2] == ["1", *alone[3:]]
    assert not any("EM alone" in label for label in beside)
    copies = table(text, "MRI-PET, 2 pairs")
    assert (
        float(copies["infrared (CT, PET) itself"][5]) < 2.0
    )  # SSIM of a copy: 1 with itself, less with the other
    distances = table(text, " | pairs | r, mean")
    assert (
        float(distances["MRI-PET, released, EM alone, 3 iterations"][1]) > 0.99
    )  # the mean of both, at the start
    first = capsys.readouterr().out
    assert run(data, tmp_path / "out", tiny_prior) == 0  # nothing is fused again, the numbers are the same
    assert capsys.readouterr().out == first


def test_local_fusion_stands_beside_em_alone_in_a_table_of_its_own(
    data: Path, tmp_path: Path, tiny_prior: PriorFiles, capsys: pytest.CaptureFixture[str]
):
    """Sources with noise, as those made up here, are fused as they are: the first fusion in Python is the same."""
    document, out = tmp_path / "R.md", tmp_path / "out"
    document.write_text("<!-- alone -->\n<!-- end -->\n")
    runs = ["released:alone:2", "local_fast:alone:1", "local:alone:2"]
    line = [
        "--data",
        str(data),
        "--out",
        str(out),
        "--model_config",
        str(tiny_prior.config),
        "--tables",
        "alone",
    ]
    assert reproduce.main([*line, "--runs", *runs, "--document", str(document)]) == 0
    rows = table(document.read_text(), "RoadScene | images")
    labels = ["released, EM alone, 2 iterations", "local_fast, closed form", "local, EM alone, 2 iterations"]
    assert list(rows)[2:] == labels and len({tuple(rows[label]) for label in labels}) == 3
    assert "## grid" not in capsys.readouterr().out
    fused = read_image(next((out / "ddim_2/RoadScene/fusion_config_local/recon").glob("a.*"))).luma
    pair = [luma_tensor(read_image(data / f"RoadScene/{side}/a.png").luma[None]) for side in ("ir", "vi")]
    local = Local(task="ivf", steps=2)
    alone = fuse(None, pair, diffusion=GaussianDiffusion.from_config(DiffusionConfig()), rectification=local)
    np.testing.assert_array_equal(fused, round_to_uint8(levels_of(alone[0, 0].numpy())))


def test_a_closed_form_has_one_step():
    with pytest.raises(ValueError, match="local_fast:alone:1"):
        Run.parse("local_fast:alone:20")


def test_a_copy_shares_all_its_information_with_its_source():
    ir, vi = (np.random.default_rng(seed).integers(0, 256, (48, 48), dtype=np.uint8) for seed in (0, 1))
    scores = evaluate(ir, ir, vi, ["VIF", "SSIM"])
    assert scores["VIF"] > 1 and scores["SSIM"] == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(
    "text", ["released:ddim", "other:ddim:3", "paper:euler:3", "paper:ddim:x", "a:b:c:d:e"]
)
def test_runs_that_cannot_be(text: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(ValueError, match="variant:sampler:steps"):
        Run.parse(text)
    assert reproduce.main(["--data", str(data), "--out", str(tmp_path / "out"), "--runs", text]) == 2
    assert text in capsys.readouterr().err


def test_no_data_set_and_a_document_without_marks(
    data: Path, tmp_path: Path, tiny_prior: PriorFiles, capsys: pytest.CaptureFixture[str]
):
    assert run(tmp_path, tmp_path / "out", tiny_prior, "--datasets", "TNO") == 2
    assert "none of TNO" in capsys.readouterr().err
    document = tmp_path / "R.md"
    document.write_text("no marks")
    assert run(data, tmp_path / "out", tiny_prior, "--document", str(document)) == 2
    assert document.read_text() == "no marks"


def test_forms_of_the_iteration_on_two_flat_regions():
    """Without a cap the derived form takes everything from one source; the released one stays at the mean."""
    ir, vi = np.full((48, 48), 200, np.uint8), np.full((48, 48), 60, np.uint8)
    ir[:, 24:] = 90
    *_, free = em_alone(Paper(cap=None), ir, vi)
    levels = (free + 1) * 127.5
    assert min(np.abs(levels - ir).max(), np.abs(levels - vi).max()) < 1
    *_, released = em_alone(Released(), ir, vi)
    np.testing.assert_allclose((released + 1) * 127.5, (ir / 2 + vi / 2), atol=1)
    *before, printed = em_alone(AsPrinted(cap=None), ir, vi, noise=10.0)
    assert np.isfinite(printed).all() and not np.allclose(printed, free, atol=0.1) and len(before) == 99
