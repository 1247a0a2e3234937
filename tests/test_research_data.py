"""On the research image pairs, where ``DDFM_DATA`` names their folder (NAME/ir, NAME/vi for each data set)."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import sample
from guided_diffusion.config import DiffusionConfig, EMConfig, FusionConfig
from guided_diffusion.fusion import fuse
from guided_diffusion.gaussian_diffusion import GaussianDiffusion
from tests.conftest import TINY, PriorFiles, write_prior
from util.image_io import round_to_uint8, stretch
from util.pairs import find_pairs, fit, load_pair

DATA = Path(os.environ.get("DDFM_DATA", "nowhere"))
pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not DATA.is_dir(), reason="DDFM_DATA names no folder of research pairs"),
]


@pytest.fixture(scope="module")
def deep_prior(tmp_path_factory: pytest.TempPathFactory) -> PriorFiles:
    """Attention only at an eighth of the resolution, so that large images stay quick."""
    return write_prior(tmp_path_factory.mktemp("deep"), {**TINY, "channel_mult": "1,1,1,1"}, seed=7)


def entropy(image: np.ndarray) -> float:
    """Bits of the 256-bin histogram."""
    share = np.bincount(image.ravel(), minlength=256) / image.size
    share = share[share > 0]
    return float(-(share * np.log2(share)).sum())


def test_em_alone_on_roadscene():
    """The measured row of the paper's form without a prior: EN 7.04, SD 39.4, within 0.5 %."""
    config = FusionConfig(em=EMConfig(variant="paper", rho=0.1, cap=2.0), prior=False)
    diffusion = GaussianDiffusion.from_config(DiffusionConfig(timestep_respacing=100))
    pairs, problems = find_pairs(DATA / "RoadScene")
    assert len(pairs) == 50 and not problems
    entropies, deviations = [], []
    for files in pairs:
        pair = load_pair(files)
        ir, vi = (
            (2 * torch.from_numpy(fit(side.luma, "crop")).float() / 255 - 1)[None, None]
            for side in (pair.ir, pair.vi)
        )
        image = round_to_uint8(stretch(fuse(None, diffusion, "ddim", config, ir, vi)[0, 0].numpy()))
        entropies.append(entropy(image))
        deviations.append(image.std())
    assert np.mean(entropies) == pytest.approx(7.04, rel=5e-3)
    assert np.mean(deviations) == pytest.approx(39.4, rel=5e-3)


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
