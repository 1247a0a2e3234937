"""A network of more blocks that begins with what one of fewer says."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from guided_diffusion.script_util import create_model
from guided_diffusion.unet import UNetModel
from tests.conftest import TINY
from tools.training.deepen import deepened_weights


def network(blocks: int | str, **changes: Any) -> UNetModel:
    return create_model(**{**TINY, "channel_mult": "1,2,2", **changes, "num_res_blocks": blocks}).eval()


@pytest.mark.parametrize(
    ("few", "many"),
    [(1, 2), (1, 3), (2, 3), (1, "1,2,3"), (2, "3,2,2"), ("1,2,1", "2,2,4"), ("3,1,1", "3,1,2")],
)
@pytest.mark.parametrize("changes", [{}, {"attention_resolutions": "16"}, {"resblock_updown": True}])
def test_it_says_what_the_smaller_one_says(few: int | str, many: int | str, changes: dict[str, Any]):
    torch.manual_seed(0)
    small, large = network(few, **changes), network(many, **changes)
    for parameter in small.parameters():
        nn.init.normal_(parameter, std=0.1)
    large.load_state_dict(deepened_weights(small.state_dict(), large.state_dict()))
    x, t = torch.randn(2, 3, 16, 16), torch.tensor([3, 500])
    with torch.no_grad():
        expected, said = small(x, t), large(x, t)
    torch.testing.assert_close(said, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


def test_every_new_block_can_learn():
    torch.manual_seed(0)
    small, large = network(1), network(2)
    for parameter in small.parameters():
        nn.init.normal_(parameter, std=0.1)
    large.load_state_dict(deepened_weights(small.state_dict(), large.state_dict()))
    large(torch.randn(2, 3, 16, 16), torch.tensor([3, 500])).square().mean().backward()
    last = [key for key, _ in large.named_parameters() if key.endswith("out_layers.3.weight")]
    gradients = dict(large.named_parameters())
    assert all(float(gradients[key].grad.abs().max()) > 0 for key in last)  # pyright: ignore[reportOptionalMemberAccess]


def test_as_many_blocks_stay_and_fewer_are_refused():
    small, large = network(1).state_dict(), network(2).state_dict()
    same = deepened_weights(small, small)
    assert all(torch.equal(same[key], small[key]) for key in small)
    for more, fewer, words in (
        (large, small, "2 blocks a level, not of at most 1"),
        (
            network("2,1,1").state_dict(),
            network("1,2,3").state_dict(),
            "2,1,1 blocks a level, not of at most 1,2,3",
        ),
        (small, network(1, channel_mult="1,2").state_dict(), "another number of levels"),
    ):
        with pytest.raises(ValueError, match=words):
            deepened_weights(more, fewer)
