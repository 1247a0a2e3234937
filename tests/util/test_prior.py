"""Taking a prior for a run: a known checkpoint is the network that was trained, or nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from guided_diffusion.config import ModelConfig
from guided_diffusion.execution import Execution
from tests.conftest import PriorFiles, write_variant
from util.checkpoint import CheckpointError
from util.prior import COMPACT_CONFIG, GREY_CONFIG, load_model, read_config

ROOT = Path(__file__).parents[2]


def load(path: Path) -> None:
    load_model(path, read_config(ModelConfig, path), ROOT, Execution(torch.device("cpu")))


@pytest.mark.parametrize(
    ("key", "value"), [("norm_groups", 16), ("num_head_channels", 64), ("use_new_attention_order", True)]
)
@pytest.mark.parametrize(
    ("config", "file"), [(COMPACT_CONFIG, "compact.pt"), (GREY_CONFIG, "compact_grey.pt")]
)
def test_a_shipped_prior_runs_as_the_network_that_was_trained(
    tmp_path: Path, config: str, file: str, key: str, value: Any
):
    """The shapes of its weights fit many a network that makes noise of it."""
    path = write_variant(ROOT / config, tmp_path / "other.yaml", **{key: value})
    with pytest.raises(CheckpointError, match=rf"other\.yaml gives {file} another .*{key}.*{config}"):
        load(path)


def test_what_only_looks_different_is_no_reason(tmp_path: Path):
    """``num_heads`` has no say beside ``num_head_channels``, and dropout none after training."""
    path = write_variant(
        ROOT / COMPACT_CONFIG, tmp_path / "same.yaml", num_heads=7, image_size=256, dropout=0.5
    )
    load(path)


def test_of_other_checkpoints_the_configuration_decides(tiny_prior: PriorFiles, tmp_path: Path):
    load(write_variant(tiny_prior.config, tmp_path / "groups.yaml", norm_groups=16))
