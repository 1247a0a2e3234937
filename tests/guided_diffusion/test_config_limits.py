"""Sizes that no configuration has: refused by name, before anything of that size is made."""

from __future__ import annotations

import pytest

from guided_diffusion.config import DiffusionConfig, ModelConfig
from guided_diffusion.script_util import empty_model
from guided_diffusion.typed import ConfigError, from_mapping


@pytest.mark.parametrize(
    "key, value",
    [
        *(("num_channels", value) for value in (-32, 0, 10**9)),
        *(("num_res_blocks", value) for value in (-1, 0, 10**6, "1,0", "2,x", "")),
        *(("num_head_channels", value) for value in (0, -2, 10**9)),
        *(("num_heads_upsample", 0), ("num_heads", 0), ("norm_groups", 0), ("image_size", 0)),
        *(("dropout", 1.0), ("dropout", -0.1), ("in_channels", 2)),
        *(("patch_size", 3), ("patch_size", 0)),
    ],
)
def test_sizes_that_no_network_has(key: str, value: float | str):
    keys = {"image_size": 64, "num_channels": 32, "num_res_blocks": 1, key: value}
    with pytest.raises(ConfigError, match=rf"f\.yaml: {key} is "):
        from_mapping(ModelConfig, keys, "f.yaml")


@pytest.mark.parametrize("text", ["1,2", "1,2,3,4,5"])
def test_blocks_of_more_or_fewer_levels_than_there_are(text: str):
    with pytest.raises(ConfigError, match="there are 4 levels"):
        empty_model(ModelConfig(64, 32, text))


@pytest.mark.parametrize("text", ["1,-2", "0", "1,nan", "inf", "1e9", ",".join("1" * 30), "0.001"])
def test_widths_that_no_network_has(text: str):
    with pytest.raises(ConfigError, match=r"channel_mult|a level of 0 channels"):
        empty_model(ModelConfig(64, 32, 1, channel_mult=text))


def test_messages_are_short_whatever_the_value():
    huge: list[object] = [0] * 100
    for _ in range(30):
        huge = [huge] * 100
    for value in (huge, 10.0**300, "x" * 10**6, {"a": huge}):
        with pytest.raises(ConfigError) as caught:
            from_mapping(DiffusionConfig, {"steps": value}, "f.yaml")
        assert len(str(caught.value)) < 1000 and "f.yaml: steps is" in str(caught.value)
