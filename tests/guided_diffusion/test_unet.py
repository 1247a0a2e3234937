"""The UNet against the published implementation's keys, shapes and outputs."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from guided_diffusion.config import ModelConfig
from guided_diffusion.execution import Execution, ready
from guided_diffusion.nn import channels_last
from guided_diffusion.script_util import create_model
from guided_diffusion.typed import ConfigError, from_mapping
from guided_diffusion.unet import UNetModel
from guided_diffusion.winograd import WinogradConv2d
from tests.conftest import GOLDEN, TINY, golden, rule_model
from tests.rounding import of_network
from util.config_io import read_yaml

IMAGENET = "configs/model_config_imagenet.yaml"


def as_sampled(model: UNetModel) -> UNetModel:
    """As ``sample.py`` runs it in float32."""
    return ready(model, Execution(torch.device("cpu")))


def with_winograd(model: UNetModel) -> UNetModel:
    """As the official network runs on a CPU; these are too narrow for it by themselves."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("guided_diffusion.winograd.MIN_CHANNELS", 1)
        model = as_sampled(model)
    assert sum(isinstance(module, WinogradConv2d) for module in model.modules()) > 10
    return model


@pytest.mark.parametrize("name", ["unet_a", "unet_b"])
@pytest.mark.parametrize("layout", [lambda model: model, channels_last, as_sampled, with_winograd])
def test_outputs_of_the_published_implementation(name: str, layout: Callable[[UNetModel], UNetModel]):
    """But for the rounding on both sides. a and b between them use every architecture option."""
    arrays = golden(f"{name}.npz")
    model = rule_model(json.loads(str(arrays["config"])), int(arrays["weight_seed"]))
    assert sum(p.numel() for p in model.parameters()) == int(arrays["n_params"])
    theirs, model = of_network(model), layout(model)
    x, t = torch.from_numpy(arrays["x"]), torch.from_numpy(arrays["t"])
    with torch.no_grad():
        out = model(x, t).numpy()
    rounding = math.hypot(theirs, of_network(model))
    assert np.linalg.norm(out - arrays["out"]) < rounding * np.linalg.norm(arrays["out"])


def test_state_dict_of_the_official_checkpoint():
    """Keys, order and shapes of the 552,814,086 parameters, so that it loads with strict=True."""
    expected = json.loads((GOLDEN / "unet_imagenet256_state_dict.json").read_text())
    keys = read_yaml(IMAGENET)
    del keys["model_path"]
    with torch.device("meta"):
        model = create_model(**keys)
    state = model.state_dict()
    assert list(state) == list(expected["state_dict"])
    assert {key: list(value.shape) for key, value in state.items()} == expected["state_dict"]
    assert sum(value.numel() for value in state.values()) == expected["n_params"] == 552_814_086


def test_groups_of_one_channel_hide_the_brightness_of_an_image():
    """32 groups of 32 channels, before the last convolution too: adding to all pixels changes nothing inside."""

    def change(groups: int) -> float:
        model = rule_model({**TINY, "norm_groups": groups})
        x, t = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)), torch.tensor([3])
        with torch.no_grad():
            difference = model(x + 0.1, t) - model(x, t)
        return float(difference[:, :, 24:-24, 24:-24].mean((2, 3)).abs().max())

    assert change(32) < 0.2 * change(8)


@pytest.mark.parametrize("groups", [0, 5])
def test_groups_that_do_not_divide_the_channels(groups: int):
    with pytest.raises(ConfigError, match=f"multiple of {groups} channels"):
        create_model(**TINY, norm_groups=groups)


def test_images_of_a_batch_do_not_mix():
    model = rule_model({**TINY, "attention_resolutions": "32"})
    x, t = torch.randn(3, 3, 32, 48), torch.tensor([0, 500, 999])
    with torch.no_grad():
        together = model(x, t)
        alone = torch.cat([model(x[i : i + 1], t[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)  # float32 sums in another order


def test_attention_orders_differ_only_in_the_layout_of_qkv():
    """Permuting the rows of qkv from (head, q/k/v) to (q/k/v, head) turns one order into the other."""
    keys = {**TINY, "num_head_channels": 8}
    legacy, new = rule_model(keys), rule_model({**keys, "use_new_attention_order": True})
    rows = torch.arange(96).reshape(4, 3, 8).transpose(0, 1).reshape(-1)
    state = legacy.state_dict()
    for key in ("middle_block.1.qkv.weight", "middle_block.1.qkv.bias"):
        state[key] = state[key][rows]
    new.load_state_dict(state)
    with torch.no_grad():
        x, t = torch.randn(1, 3, 16, 16), torch.tensor([3])
        torch.testing.assert_close(new(x, t), legacy(x, t), rtol=1e-5, atol=1e-5)


def test_class_conditioning_wants_labels_and_uses_them():
    model = rule_model({**TINY, "class_cond": True})
    x, t = torch.randn(1, 3, 16, 16), torch.tensor([3])
    with torch.no_grad():
        one, two = (model(x, t, torch.tensor([label])) for label in (1, 2))
    assert not torch.allclose(one, two)
    with pytest.raises(ValueError, match="takes class labels"):
        model(x, t)
    with pytest.raises(ValueError, match="takes no class labels"):
        rule_model(TINY)(x, t, torch.tensor([1]))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_near_float32(dtype: torch.dtype):
    model, half = rule_model(TINY), rule_model(TINY)
    half.convert_body(dtype)
    x, t = torch.randn(1, 3, 16, 16), torch.tensor([3])
    with torch.no_grad():
        exact, rough = model(x, t), half(x, t)
    assert rough.dtype == torch.float32
    types = {key: value.dtype for key, value in half.state_dict().items()}
    assert types["input_blocks.1.0.in_layers.2.weight"] == types["middle_block.1.qkv.weight"] == dtype
    assert types["out.2.weight"] == types["time_embed.0.weight"] == torch.float32
    assert types["input_blocks.1.0.in_layers.0.weight"] == torch.float32
    assert (rough - exact).norm() < of_network(half) * exact.norm()


def test_use_fp16_key_converts_the_body():
    assert create_model(**{**TINY, "use_fp16": True}).dtype == torch.float16


def test_attention_over_many_positions_needs_no_square_of_them():
    """128 x 128 positions: their square would take 1 GiB of float32, what is needed is a few tens of MiB."""
    model = rule_model({**TINY, "channel_mult": "1"})
    x, t = torch.randn(1, 3, 128, 128), torch.tensor([3])
    with torch.no_grad(), torch.profiler.profile(profile_memory=True) as profile:
        model(x, t)
    largest = max(event.cpu_memory_usage for event in profile.events() or [])
    assert largest < 64 * 2**20


def test_gradients_with_checkpointing_equal_those_without():
    keys = {**TINY, "attention_resolutions": "32"}
    grads = []
    for use_checkpoint in (False, True):
        model = rule_model({**keys, "use_checkpoint": use_checkpoint})
        model(torch.ones(1, 3, 16, 16), torch.tensor([3])).square().sum().backward()
        grads.append([p.grad for p in model.parameters()])
    for plain, checkpointed in zip(*grads, strict=True):
        torch.testing.assert_close(plain, checkpointed, rtol=1e-4, atol=1e-4)


def test_size_that_does_not_fit_names_the_multiple():
    with pytest.raises(ValueError, match="multiples of 2"):
        rule_model(TINY)(torch.randn(1, 3, 16, 17), torch.tensor([3]))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"channel_mult": "", "image_size": 96}, "channel_mult must be given"),
        ({"channel_mult": "1,x"}, "must be numbers like"),
        ({"attention_resolutions": "a"}, "must be sides like"),
        ({"attention_resolutions": "0"}, "must be positive"),
        ({"num_channels": 48}, "multiple of 32"),
        ({"num_head_channels": -1, "num_heads": 5}, "attention heads"),
    ],
)
def test_configurations_that_describe_no_network(change: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        create_model(**{**TINY, **change})


@pytest.mark.parametrize("learn_sigma", [False, True])
def test_a_network_of_one_channel(learn_sigma: bool):
    model = create_model(**{**TINY, "learn_sigma": learn_sigma}, in_channels=1)
    assert model(torch.zeros(2, 1, 16, 8), torch.tensor([1, 2])).shape == (2, 1 + learn_sigma, 16, 8)


@pytest.mark.parametrize("patch_size", [2, 4])
def test_patches_become_channels_before_the_first_layer(patch_size: int):
    """And pixels again after the last: a network of pixels says the same of the patches' channels."""
    keys = {**TINY, "learn_sigma": True}
    patched = rule_model({**keys, "patch_size": patch_size, "in_channels": 1})
    assert patched.size_multiple == patch_size * 2 ** (len(patched.params.channel_mult) - 1)
    inner = UNetModel(
        dataclasses.replace(
            patched.params, patch_size=1, in_channels=patch_size**2, out_channels=2 * patch_size**2
        )
    )
    inner.load_state_dict(patched.state_dict())
    x, t = torch.randn(2, 1, 2 * patched.size_multiple, patched.size_multiple), torch.tensor([1, 500])
    rows = [x[:, :, i::patch_size, j::patch_size] for i in range(patch_size) for j in range(patch_size)]
    with torch.no_grad():
        said, expected = patched(x, t), inner(torch.cat(rows, 1), t)
    for index, (i, j) in enumerate(np.ndindex(patch_size, patch_size)):
        picked = expected[:, [index, patch_size**2 + index]]
        torch.testing.assert_close(said[:, :, i::patch_size, j::patch_size], picked)
    with pytest.raises(ValueError, match=f"multiples of {patched.size_multiple}"):
        patched(x[:, :, patch_size:], t)


@pytest.mark.parametrize("layout", [channels_last, as_sampled])
def test_a_network_of_patches_says_the_same_in_every_layout(layout: Callable[[UNetModel], UNetModel]):
    model = rule_model({**TINY, "patch_size": 2})
    x, t = torch.randn(2, 3, 32, 16), torch.tensor([1, 500])
    with torch.no_grad():
        plain = model(x, t)
        arranged = layout(model)(x, t)
    rounding = of_network(model)
    assert (arranged - plain).norm() < 2 * rounding * plain.norm()


def test_default_widths_follow_the_image_size():
    mults = {
        size: create_model(image_size=size, num_channels=32, num_res_blocks=1).params.channel_mult
        for size in (64, 128)
    }
    assert mults == {64: (1, 2, 3, 4), 128: (1, 1, 2, 3, 4)}


@pytest.mark.parametrize("name", ["compact", "grey"])
def test_compact_configurations_are_small(name: str):
    config = from_mapping(ModelConfig, read_yaml(f"configs/model_config_{name}.yaml"), name)
    keys = {key: value for key, value in vars(config).items() if key != "model_path"}
    with torch.device("meta"):
        model = create_model(**keys)
    assert sum(p.numel() for p in model.parameters()) < 8e6
