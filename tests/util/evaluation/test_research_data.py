"""On the research image pairs, where ``DDFM_DATA`` names their folder (NAME/ir, NAME/vi for each data set)."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import evaluate as evaluate_command
import sample
from guided_diffusion.config import DiffusionConfig
from guided_diffusion.em_paper import Paper
from guided_diffusion.fusion import fuse
from guided_diffusion.gaussian_diffusion import GaussianDiffusion
from guided_diffusion.local.weights import detect_task
from guided_diffusion.ycbcr import luma_tensor
from tests.conftest import TINY, PriorFiles, write_prior
from util.evaluation.folders import Evaluation, evaluate_triples, find_triples
from util.evaluation.metrics import evaluate
from util.images.levels import round_to_uint8, stretch
from util.images.pairs import find_pairs, fit, load_pair

DATA = Path(os.environ.get("DDFM_DATA", "nowhere"))
PUBLISHED = DATA.parent / "published/CDDFuse_RoadScene"
pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not DATA.is_dir(), reason="DDFM_DATA names no folder of research pairs"),
]


@pytest.fixture(scope="module")
def deep_prior(tmp_path_factory: pytest.TempPathFactory) -> PriorFiles:
    """Attention only at an eighth of the resolution, so that large images stay quick."""
    return write_prior(tmp_path_factory.mktemp("deep"), {**TINY, "channel_mult": "1,1,1,1"}, seed=7)


def test_em_alone_on_roadscene():
    """The row that an independent implementation of the paper's form without a prior measured."""
    diffusion = GaussianDiffusion.from_config(DiffusionConfig(timestep_respacing=100))
    pairs, problems = find_pairs(DATA / "RoadScene" / "ir", DATA / "RoadScene" / "vi")
    assert len(pairs) == 50 and not problems
    scores: dict[str, list[float]] = {"EN": [], "SD": [], "MI": [], "VIF": [], "Qabf": [], "SSIM": []}
    for files in pairs:
        pair = load_pair(files)
        ir, vi = (
            (2 * torch.from_numpy(fit(side.luma, "crop")).float() / 255 - 1)[None, None]
            for side in (pair.ir, pair.vi)
        )
        fused = fuse(None, (ir, vi), diffusion=diffusion, rectification=Paper(cap=2.0))
        image = round_to_uint8(stretch(fused[0, 0].numpy()))
        height, width = image.shape
        result = evaluate(image, pair.ir.luma[:height, :width], pair.vi.luma[:height, :width], list(scores))
        for name, value in result.items():
            scores[name].append(value)
    measured = {name: float(np.mean(values)) for name, values in scores.items()}
    expected = {"EN": 7.04, "SD": 39.4, "MI": 2.20, "VIF": 0.64, "Qabf": 0.40, "SSIM": 0.88}
    assert measured == pytest.approx(expected, rel=1e-2)  # printed to two digits after the point


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="needs the fused images behind a published row")
def test_evaluator_gives_a_published_row():
    """CDDFuse on RoadScene, fused images as published: every value within 0.01 of the paper's."""
    triples, problems = find_triples(PUBLISHED, DATA / "RoadScene/ir", DATA / "RoadScene/vi")
    assert len(triples) == 50 and not problems
    row = {
        "EN": 7.44,
        "SD": 54.67,
        "SF": 16.36,
        "MI": 2.30,
        "SCD": 1.81,
        "VIF": 0.69,
        "Qabf": 0.52,
        "SSIM": 0.98,
    }
    result = Evaluation("ddfm", list(row))
    for triple, scores in zip(triples, evaluate_triples(triples, list(row), "ddfm", workers=1), strict=True):
        assert isinstance(scores, dict)
        result.images[triple.stem] = scores
    for name, value in row.items():
        assert result.statistic(name)[0] == pytest.approx(value, abs=0.0105), name  # both sides are rounded


@pytest.mark.parametrize(
    "name, colour", [("RoadScene", True), ("TNO", False), ("MRI_CT", False), ("MRI_PET", True)]
)
def test_each_data_set_through_the_command_line(
    tmp_path: Path, name: str, colour: bool, deep_prior: PriorFiles
):
    (tmp_path / "diffusion.yaml").write_text("timestep_respacing: 2\n")
    (tmp_path / "fusion.yaml").write_text(yaml.safe_dump({"fit": "pad"}))
    line = ["--model_config", str(deep_prior.config), "--diffusion_config", str(tmp_path / "diffusion.yaml")]
    line += ["--fusion_config", str(tmp_path / "fusion.yaml"), "--device", "cpu", "--limit", "2"]
    assert sample.main([*line, "--input", str(DATA / name), "--save_dir", str(tmp_path)]) == 0
    results = sorted((tmp_path / "recon").iterdir())
    assert len(results) == 2
    for path in results:
        source = next((DATA / name / "vi").glob(f"{path.stem}.*"))
        with Image.open(path) as fused, Image.open(source) as original:
            assert fused.size == original.size
        assert (tmp_path / "color" / path.name).exists() == colour


def test_the_tables_have_our_rows(tmp_path: Path):
    """All three tables on what is there, one image of each set, without a prior."""
    (tmp_path / "steps.yaml").write_text("timestep_respacing: 2\n")
    config = Path(__file__).parents[3] / "configs/ablation/exp_1_paper.yaml"
    line = ["--table", "1", "2", "3", "--data", str(DATA), "--limit", "1", "--fusion_config", str(config)]
    line += ["--diffusion_config", str(tmp_path / "steps.yaml"), "--out", str(tmp_path / "fused")]
    assert evaluate_command.main([*line, "--tables_dir", str(tmp_path / "t")]) == 0
    made = {
        (number, row["dataset"])
        for number in (1, 2, 3)
        for row in csv.DictReader((tmp_path / f"t/table_{number}.csv").open())
        if row["rows"] == "here"
    }
    assert made == {(1, "RoadScene"), (1, "TNO"), (2, "RoadScene"), (3, "MRI-CT"), (3, "MRI-PET")}


@pytest.mark.parametrize(
    ("name", "task"), [("RoadScene", "ivf"), ("TNO", "ivf"), ("MRI_CT", "mif"), ("MRI_PET", "mif")]
)
def test_images_tell_their_task(name: str, task: str):
    """What ``em.task: auto`` reads where names tell nothing; every third pair."""
    for files in find_pairs(DATA / name / "ir", DATA / name / "vi")[0][::3]:
        lumas = [luma_tensor(source.luma[None], "cpu") for source in load_pair(files).sources]
        assert detect_task(lumas)[0] == task, files.stem


@pytest.mark.parametrize(
    ("folders", "task"),
    [(("focus/1", "focus/2"), "focus"), (("exposure/over", "exposure/under"), "exposure")],
)
def test_photographs_tell_their_task(folders: tuple[str, str], task: str):
    if not (DATA.parent / "multi").is_dir():
        pytest.skip("no folder multi beside the pairs")
    for files in find_pairs(*(DATA.parent / "multi" / folder for folder in folders))[0]:
        lumas = [luma_tensor(source.luma[None], "cpu") for source in load_pair(files).sources]
        assert detect_task(lumas)[0] == task, files.stem
