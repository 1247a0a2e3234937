"""Configuration: every wrong key is named with its file and the allowed values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from guided_diffusion.config import DiffusionConfig, ModelConfig
from guided_diffusion.em_paper import Paper
from guided_diffusion.em_released import Released
from guided_diffusion.fusion import step_count
from guided_diffusion.fusion_config import FusionConfig
from guided_diffusion.gaussian_diffusion import GaussianDiffusion
from guided_diffusion.typed import ConfigError, from_mapping
from util.config_io import read_yaml


def test_shipped_files_are_valid_and_hold_the_defaults():
    fusion = from_mapping(FusionConfig, read_yaml("configs/fusion_config.yaml"), "f")
    diffusion = from_mapping(DiffusionConfig, read_yaml("configs/diffusion_config.yaml"), "d")
    assert fusion == FusionConfig()
    assert diffusion == DiffusionConfig()
    for path in Path("configs").glob("model_config_*.yaml"):
        from_mapping(ModelConfig, read_yaml(path), str(path))
    paper = from_mapping(FusionConfig, read_yaml("configs/fusion_config_paper.yaml"), "p")
    assert paper == FusionConfig(em=Paper())


def test_the_quick_files_take_25_evaluations_and_change_nothing_else_but_the_size():
    fusion = from_mapping(FusionConfig, read_yaml("configs/fusion_config_quick.yaml"), "f")
    diffusion = from_mapping(DiffusionConfig, read_yaml("configs/diffusion_config_quick.yaml"), "d")
    assert fusion == FusionConfig(warm_start=400, fit="pad")
    assert diffusion == DiffusionConfig(timestep_respacing=62)
    assert step_count(GaussianDiffusion.from_config(diffusion), fusion.warm_start) == 25


def test_the_grey_file_takes_as_many_steps_as_the_default_most_of_them_near_the_clean_image():
    diffusion = from_mapping(DiffusionConfig, read_yaml("configs/diffusion_config_grey.yaml"), "d")
    assert diffusion == DiffusionConfig(timestep_respacing=diffusion.timestep_respacing)
    grey, default = (GaussianDiffusion.from_config(config) for config in (diffusion, DiffusionConfig()))
    assert grey.num_timesteps == default.num_timesteps == 100
    for process, near in ((grey, 60), (default, 20)):
        assert (process.timestep_map < 200).sum() == near
        assert (process.timestep_map[0], process.timestep_map[-1]) == (0, 999)


def test_published_files_with_unquoted_lists_and_capital_booleans(tmp_path: Path):
    path = tmp_path / "m.yaml"
    path.write_text(
        "image_size: 256\nnum_channels: 256\nnum_res_blocks: 2\nchannel_mult: ''\nlearn_sigma: True\n"
        "attention_resolutions: 32,16,8\nuse_fp16: False\ndropout: 0\nmodel_path: models/a.pt\n"
    )
    config = from_mapping(ModelConfig, read_yaml(path), str(path))
    assert config.attention_resolutions == "32,16,8"
    assert config.dropout == 0.0 and isinstance(config.dropout, float)


@pytest.mark.parametrize(
    "cls, data, words",
    [
        (
            ModelConfig,
            {"image_size": 64, "num_channels": 32, "num_res_blocks": 1, "in_channels": 2},
            ["in_channels", "1 (grey)"],
        ),
        (FusionConfig, {"sede": 1}, ["f.yaml", "sede", "seed"]),
        (FusionConfig, {"em": {"rho": "much"}}, ["f.yaml", "em.rho", "'much'", "a number"]),
        (FusionConfig, {"em": {"variant": "new"}}, ["em.variant", "released, paper"]),
        (FusionConfig, {"em": {"tv": 1}}, ["em.tv", "true or false"]),
        (FusionConfig, {"em": {"cap": float("nan")}}, ["em.cap", "a number or null"]),
        (FusionConfig, {"em": [1]}, ["em", "mapping"]),
        (FusionConfig, {"seed": True}, ["seed", "an integer"]),
        (FusionConfig, {"seed": -1}, ["f.yaml", "seed", "0"]),
        (FusionConfig, {"eta": 1.5}, ["f.yaml", "eta", "0", "1"]),
        (FusionConfig, {"color": True}, ["color", "auto, vi, ir, off"]),
        (ModelConfig, {"image_size": 64}, ["f.yaml", "num_channels", "missing"]),
        (DiffusionConfig, {"timestep_respacing": [10, "a"]}, ["timestep_respacing", "list of integers"]),
        (DiffusionConfig, "ddim", ["f.yaml", "mapping"]),
    ],
)
def test_wrong_configuration(cls: type, data: Any, words: list[str]):
    with pytest.raises(ConfigError) as caught:
        from_mapping(cls, data, "f.yaml")
    for word in words:
        assert word in str(caught.value)


def test_numbers_that_yaml_reads_as_text_are_taken_as_numbers(tmp_path: Path):
    """YAML 1.1 wants a dot and a sign in 1.0e-3; people write 1e-3."""
    path = tmp_path / "f.yaml"
    path.write_text("em:\n  rho: 1e-3\n")
    assert from_mapping(FusionConfig, read_yaml(path), "f").em == Released(rho=1e-3)


def test_off_without_quotes_is_the_word_off(tmp_path: Path):
    """YAML 1.1 reads a bare off as false."""
    path = tmp_path / "f.yaml"
    path.write_text("color: off\n")
    assert from_mapping(FusionConfig, read_yaml(path), "f").color == "off"


@pytest.mark.parametrize(
    "content, word", [("a: [1", "not valid YAML"), ("- 1", "mapping"), (None, "cannot read")]
)
def test_unreadable_files(tmp_path: Path, content: str | None, word: str):
    path = tmp_path / "f.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ValueError, match=word) as caught:
        read_yaml(path)
    assert "f.yaml" in str(caught.value)


def test_empty_file_means_defaults(tmp_path: Path):
    path = tmp_path / "f.yaml"
    path.write_text("")
    assert from_mapping(FusionConfig, read_yaml(path), "f") == FusionConfig()
