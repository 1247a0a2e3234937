"""Upsampling folded into the convolution after it."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from guided_diffusion.nn import channels_last
from guided_diffusion.subpixel import fold_upsampling, upsample_conv
from tests.conftest import TINY, rule_model
from tests.rounding import of_network


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4), st.integers(1, 4), st.integers(0, 99))
def test_equals_upsampling_then_convolution(height: int, width: int, channels: int, out: int, seed: int):
    """In float64, so that nothing but the order of sums differs; edges included."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    x, weight, bias = normal(2, channels, height, width), normal(out, channels, 3, 3), normal(out)
    expected = F.conv2d(F.interpolate(x, scale_factor=2, mode="nearest"), weight, bias, padding=1)
    torch.testing.assert_close(upsample_conv(x, fold_upsampling(weight), bias), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("updown", [False, True])
def test_a_folded_network_says_the_same(updown: bool):
    """But for rounding; the state dict stays that of the checkpoint."""
    keys = {**TINY, "channel_mult": "1,1,2", "resblock_updown": updown}
    model = rule_model(keys, 3).requires_grad_(False)
    x, t = torch.randn((2, 3, 32, 48), generator=torch.Generator().manual_seed(1)), torch.tensor([10, 700])
    expected, names, rounding = model(x, t), list(model.state_dict()), of_network(model)
    model.fold_upsampling()
    assert list(model.state_dict()) == names
    assert sum(buffer is not None for buffer in model.buffers()) == 2  # two levels go up
    for layout in (model, channels_last(model)):  # the phases take part in changes of layout
        assert float((layout(x, t) - expected).norm() / expected.norm()) < 2**0.5 * rounding  # of both
    assert all(buffer.is_contiguous(memory_format=torch.channels_last) for buffer in model.buffers())
    model.convert_body(torch.bfloat16)
    assert all(buffer.dtype == torch.bfloat16 for buffer in model.buffers())
    assert float((model(x, t) - expected).norm() / expected.norm()) < of_network(model)
