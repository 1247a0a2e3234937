"""``configs/ablation``: every experiment differs from ours in exactly the key that it is about."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from guided_diffusion.admm import FixedBalance
from guided_diffusion.fusion_config import FusionConfig
from guided_diffusion.typed import from_mapping
from util.config_io import read_yaml

CONFIGS = Path(__file__).parents[3] / "configs"
VARIANTS = {"released": "fusion_config.yaml", "paper": "fusion_config_paper.yaml"}
CHANGES = {
    "exp_1": {"prior": False},
    "exp_2": {"em.tv": False},
    "exp_3": {"em.phi": 0.1},
    "exp_4": {"em.phi": 1.0},
    "ours": {},
}


def flat(path: Path) -> dict[str, Any]:
    """Every setting, those that the file leaves to their defaults too."""
    keys = read_yaml(path)
    config = from_mapping(FusionConfig, keys, str(path))
    others = {key: value for key, value in asdict(config).items() if key != "em"}
    assert isinstance(config.em, FixedBalance) == (keys["em"]["phi"] is not None)
    return {**{f"em.{key}": value for key, value in keys["em"].items()}, **others}


def test_all_files_are_known():
    names = {path.stem for path in (CONFIGS / "ablation").iterdir()}
    assert names == {f"{name}_{variant}" for name in CHANGES for variant in VARIANTS}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", CHANGES)
def test_each_differs_in_its_own_key(name: str, variant: str):
    ours, this = flat(CONFIGS / VARIANTS[variant]), flat(CONFIGS / f"ablation/{name}_{variant}.yaml")
    assert this["em.variant"] == variant
    assert {key: value for key, value in this.items() if value != ours[key]} == CHANGES[name]
