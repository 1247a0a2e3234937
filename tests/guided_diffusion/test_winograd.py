"""Convolutions in fewer products: the numbers of the plain one, at any size, for the layers that gain by it."""

from __future__ import annotations

import logging
import math
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from guided_diffusion import winograd
from guided_diffusion.config import ModelConfig
from guided_diffusion.execution import Execution, ready
from guided_diffusion.script_util import empty_model
from guided_diffusion.unet import UNetModel
from guided_diffusion.winograd import POINTS, WinogradConv2d, pays, transforms, use_winograd
from tests.conftest import TINY, rule_model, write_prior
from tests.rounding import of_network, of_winograd
from util.prior import load_model, read_config

CPU = torch.device("cpu")


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def conv2d(channels: int, out_channels: int, bias: bool = True) -> nn.Conv2d:
    conv = nn.Conv2d(channels, out_channels, 3, padding=1, bias=bias).requires_grad_(False)
    conv.weight.copy_(draw(out_channels, channels, 3, 3, seed=1) / (9 * channels) ** 0.5)
    if conv.bias is not None:
        conv.bias.copy_(draw(out_channels, seed=2))
    return conv


@pytest.mark.parametrize(
    "outputs, points", [(4, POINTS), (2, POINTS[:3]), (1, POINTS[:2]), (3, (*POINTS[:3], Fraction(3)))]
)
def test_transforms_are_correlations(outputs: int, points: tuple[Fraction, ...]):
    """Exact up to float64's rounding, for every number of outputs and taps that the points allow."""
    output, kernel, input_ = transforms(outputs, points)
    size = len(points) + 1
    taps = size + 1 - outputs
    assert [tuple(m.shape) for m in (output, kernel, input_)] == [(outputs, size), (size, taps), (size, size)]
    d, g = draw(size, dtype=torch.float64), draw(taps, seed=1, dtype=torch.float64)
    expected = torch.stack([(d[k : k + taps] * g).sum() for k in range(outputs)])
    torch.testing.assert_close(output @ ((kernel @ g) * (input_ @ d)), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [(1, 1), (4, 4), (5, 7), (8, 3), (33, 50)])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("tiles", [1, 10, 1024])
def test_the_numbers_of_the_plain_convolution(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], batch: int, tiles: int
):
    """Also at sizes that no tile divides, in any number of strips, whatever the layout of the input."""
    monkeypatch.setattr(winograd, "TILES", tiles)
    conv = conv2d(24, 40, bias=size != (5, 7))
    x = draw(batch, 24, *size)
    exact = conv.double()(x.double())
    ours = WinogradConv2d(conv.float())
    for layout in (torch.contiguous_format, torch.channels_last):
        out = ours(x.contiguous(memory_format=layout))
        assert out.shape == exact.shape and out.dtype == torch.float32
        assert out.is_contiguous(memory_format=torch.channels_last)
        assert (out - exact).norm() < of_winograd(24) * exact.norm()


def test_wide_layers_round_no_more_than_their_transforms_amplify():
    conv, x = conv2d(256, 256, bias=False), draw(1, 256, 24, 24)
    exact = conv.double()(x.double())
    ours = WinogradConv2d(conv.float())
    assert 0 < (ours(x) - exact).norm() < of_winograd(256) * exact.norm()


def test_worse_points_would_be_noticed(monkeypatch: pytest.MonkeyPatch):
    conv, x = conv2d(256, 256, bias=False), draw(1, 256, 24, 24)
    exact = conv.double()(x.double())
    monkeypatch.setattr(winograd, "POINTS", tuple(map(Fraction, range(5))))
    assert (WinogradConv2d(conv.float())(x) - exact).norm() > of_winograd(256) * exact.norm()


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_halves_would_be_noticed(half: torch.dtype):
    """Kernels of 11 bits, as TF32 and float16 have, or of 8."""
    conv, x = conv2d(256, 256, bias=False), draw(1, 256, 24, 24)
    exact = conv.double()(x.double())
    ours = WinogradConv2d(conv.float())
    ours.kernels.copy_(ours.kernels.to(half))
    assert (ours(x) - exact).norm() > of_winograd(256) * exact.norm()


def test_the_points_amplify_less_than_the_usual_ones():
    usual = (*POINTS[:3], Fraction(2), Fraction(-2))
    assert of_winograd(256) < 0.7 * of_winograd(256, usual)


def test_parts_of_a_larger_image_are_read_in_place():
    """A view that starts inside of its storage."""
    conv, x = conv2d(24, 40), draw(4, 24, 20, 20).contiguous(memory_format=torch.channels_last)
    exact = conv.double()(x.double()[1:3, :, 3:, 5:])
    ours = WinogradConv2d(conv.float())(x[1:3, :, 3:, 5:])
    assert (ours - exact).norm() < of_winograd(24) * exact.norm()


def test_for_which_layers_it_pays():
    with torch.device("meta"):
        yes = [nn.Conv2d(192, 256, 3, padding=1), nn.Conv2d(1536, 512, 3, padding=1)]
        no = [
            nn.Conv2d(128, 256, 3, padding=1),  # few channels
            nn.Conv2d(1024, 1024, 3, padding=1),  # large kernels
            nn.Conv2d(256, 256, 1),
            nn.Conv2d(256, 256, 3),
            nn.Conv2d(256, 256, 3, stride=2, padding=1),
            nn.Conv2d(256, 256, 3, padding=1, groups=256),
            nn.Conv2d(256, 256, 3, padding=1, padding_mode="circular"),
            nn.Conv2d(256, 256, 3, padding=1).half(),
            nn.Linear(256, 256),
        ]
    assert [pays(conv) for conv in yes] == [True] * 2
    assert not any(pays(layer) for layer in no)


WIDE = {**TINY, "num_channels": 192, "channel_mult": "1,1", "resblock_updown": True}


def wide() -> UNetModel:
    """A network that upsamples and has layers wide enough."""
    return rule_model(WIDE, 3)


def test_a_ready_network_takes_it_on_the_cpu_in_float32():
    x, t = draw(2, 3, 24, 40), torch.tensor([400, 3])
    with torch.no_grad():
        exact = wide()(x, t)
        execution = Execution(CPU)
        model = ready(wide(), execution)
        out = model(x, t)
    replaced = [module for module in model.modules() if isinstance(module, WinogradConv2d)]
    assert f"{len(replaced)} Winograd convolutions" in execution.describe(model)
    assert len(replaced) > 10 and not any(name.endswith("phases") for name, _ in model.named_buffers())
    assert (out - exact).norm() < math.hypot(of_network(wide()), of_network(model)) * exact.norm()


@pytest.mark.parametrize(
    "execution", [Execution(CPU, "bf16"), Execution(CPU, compile=True), Execution(torch.device("meta"))]
)
def test_nothing_else_takes_it(execution: Execution):
    model = ready(wide(), execution)
    assert not any(isinstance(module, WinogradConv2d) for module in model.modules())
    assert "Winograd" not in execution.describe(model)


def test_the_compact_prior_is_too_narrow_for_it():
    """So that its results are what they were, bit for bit."""
    model = empty_model(read_config(ModelConfig, Path("configs/model_config_compact.yaml")))
    assert use_winograd(model) == 0
    official = empty_model(read_config(ModelConfig, Path("configs/model_config_imagenet.yaml")))
    assert sum(pays(module) for module in official.modules()) == 55


def test_a_prior_for_which_there_is_just_enough_memory_is_not_made_larger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    files = write_prior(tmp_path, WIDE, 3)
    config = read_config(ModelConfig, files.config)
    need = 3 * 4 * sum(p.numel() for p in wide().parameters())
    for available, used, said in ((need, True, 0), (need - 1, False, 1), (None, True, 1)):
        monkeypatch.setattr("util.prior.available_bytes", lambda available=available: available)
        with caplog.at_level(logging.INFO, "ddfm"):
            model, _ = load_model(files.config, config, tmp_path, Execution(CPU))
        assert any(isinstance(module, WinogradConv2d) for module in model.modules()) == used
        assert sum("GiB of memory are free" in record.message for record in caplog.records) == said
