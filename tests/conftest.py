"""Fixtures: a tiny prior on disk, folders of pairs, and the golden arrays."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hypothesis import settings
from PIL import Image

import sample
from benchmarks.rule_weights import rule_state_dict
from guided_diffusion.script_util import create_model
from guided_diffusion.unet import UNetModel
from tests import chromium
from util.config_io import read_yaml
from util.logger import get_logger

settings.register_profile("any machine", deadline=None)  # slow ones fail no test
settings.load_profile("any machine")
if "OMP_NUM_THREADS" not in os.environ:
    torch.set_num_threads(1)  # the networks here are so small that more threads only wait for each other

get_logger()  # as the first run of a process leaves it, whichever test is the first

GOLDEN = Path(__file__).parent / "golden"


def golden(name: str) -> dict[str, np.ndarray]:
    """The arrays of one golden file."""
    with np.load(GOLDEN / name) as arrays:
        return {key: arrays[key] for key in arrays.files}


@pytest.fixture
def caplog(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """With what the project's logger says, which does not go on to the root, where pytest listens."""
    logger = logging.getLogger("ddfm")
    if caplog.handler not in logger.handlers:
        logger.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)


@dataclass(frozen=True)
class PriorFiles:
    """A prior on disk: its YAML file, its checkpoint and the keys in the YAML."""

    config: Path
    checkpoint: Path
    keys: dict[str, Any]


def rule_model(keys: dict[str, Any], seed: int = 0) -> UNetModel:
    """The network of a model configuration with rule-made weights."""
    model = create_model(**keys).eval()
    model.load_state_dict(rule_state_dict(model, seed))
    return model


def write_prior(folder: Path, keys: dict[str, Any], seed: int) -> PriorFiles:
    """A model configuration and a checkpoint with rule-made weights, as a user would have them."""
    checkpoint = folder / "prior.pt"
    torch.save(rule_model(keys, seed).state_dict(), checkpoint)
    config = folder / "model_config.yaml"
    config.write_text(yaml.safe_dump({**keys, "model_path": str(checkpoint)}))
    return PriorFiles(config, checkpoint, keys)


TINY = {
    "image_size": 64,
    "num_channels": 32,
    "num_res_blocks": 1,
    "channel_mult": "1,1",
    "learn_sigma": True,
    "attention_resolutions": "",
    "num_head_channels": 32,
    "use_scale_shift_norm": True,
}


@pytest.fixture(scope="session")
def tiny_prior(tmp_path_factory: pytest.TempPathFactory) -> PriorFiles:
    """The smallest network that has every part but attention levels."""
    return write_prior(tmp_path_factory.mktemp("tiny"), TINY, seed=7)


@pytest.fixture(scope="session")
def trajectory() -> dict[str, np.ndarray]:
    """A whole 10-step run of the released implementation with a small network."""
    return golden("trajectory.npz")


@pytest.fixture(scope="session")
def trajectory_prior(
    tmp_path_factory: pytest.TempPathFactory, trajectory: dict[str, np.ndarray]
) -> PriorFiles:
    """The network of the golden trajectory."""
    keys = json.loads(str(trajectory["config"]))
    return write_prior(tmp_path_factory.mktemp("trajectory"), keys, int(trajectory["weight_seed"]))


def make_pair(
    folder: Path, stem: str, size: tuple[int, int] = (64, 64), colour: str = "", seed: int = 0
) -> None:
    """Write a smooth random pair, (height, width) ``size``; ``colour`` names the sides stored in colour."""
    rng = np.random.default_rng([seed, *stem.encode()])
    for side in ("ir", "vi"):
        channels = 3 if side in colour.split(",") else 1
        coarse = rng.integers(0, 256, (size[0] // 8 + 1, size[1] // 8 + 1, channels), dtype=np.uint8)
        image = Image.fromarray(coarse.squeeze()).resize((size[1], size[0]), Image.Resampling.BICUBIC)
        (folder / side).mkdir(parents=True, exist_ok=True)
        image.save(folder / side / f"{stem}.png")


def write_variant(shipped: Path, path: Path, **changes: Any) -> Path:
    """Write the configuration ``shipped`` with some keys changed to ``path``, which is returned."""
    path.write_text(yaml.safe_dump(read_yaml(shipped) | changes, sort_keys=False))
    return path


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Chromium, for the tests of one module."""
    driver = chromium.start(tmp_path_factory.mktemp("chromium"))
    yield driver
    driver.quit()


def run_with_network(folder: Path, keys: dict[str, Any]) -> tuple[int, Path]:
    """The exit status of ``sample.py`` on a pair in ``folder`` with a prior configured by ``keys``, and that file."""
    make_pair(folder / "input", "a")
    config = folder / "model.yaml"
    config.write_text(yaml.safe_dump(keys))
    flags = {"model_config": config, "input": folder / "input", "save_dir": folder / "out", "device": "cpu"}
    return sample.main([part for name, value in flags.items() for part in (f"--{name}", str(value))]), config
