"""Configuration files whose keys are each right, but together describe nothing: the file is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from guided_diffusion.config import DiffusionConfig
from guided_diffusion.typed import ConfigError
from tests.conftest import PriorFiles, run_with_network
from util.prior import read_config


def test_a_process(tmp_path: Path):
    (tmp_path / "d.yaml").write_text("steps: 1000\ntimestep_respacing: 2000\n")
    with pytest.raises(ConfigError, match=r"d\.yaml: .*2000"):
        read_config(DiffusionConfig, tmp_path / "d.yaml")


@pytest.mark.parametrize("keys", [{"channel_mult": "1,-2"}, {"num_channels": 33}, {"num_head_channels": 0}])
def test_a_network(
    keys: dict[str, object], tmp_path: Path, tiny_prior: PriorFiles, capsys: pytest.CaptureFixture[str]
):
    asked = {**tiny_prior.keys, "model_path": str(tiny_prior.checkpoint), **keys}
    status, config = run_with_network(tmp_path, asked)
    assert status == 2
    lines = capsys.readouterr().err.splitlines()
    assert sum(line.startswith(f"ERROR: {config}: ") for line in lines) == 1
