"""Muon: updates whose directions all have the same length, and the parameters that it takes."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from guided_diffusion.script_util import create_model
from tests.conftest import TINY
from tools.training.optimizers import NEWTON_SCHULZ, Muon, make_optimizers, orthogonalize


def quintic(values: Tensor) -> Tensor:
    """What five iterations make of singular values, one by one, in float64."""
    a, b, c = NEWTON_SCHULZ
    for _ in range(5):
        values = a * values + b * values**3 + c * values**5
    return values


def reference(matrix: Tensor) -> Tensor:
    u, s, vh = torch.linalg.svd(matrix.double(), full_matrices=False)
    return (u * quintic(s / s.norm())) @ vh


@pytest.mark.parametrize("shape", [(8, 8), (8, 27), (27, 8), (1, 9), (64, 2)])
def test_singular_values_are_made_alike_and_directions_stay(shape: tuple[int, int]):
    generator = torch.Generator().manual_seed(0)
    u, _, vh = torch.linalg.svd(torch.randn(shape, generator=generator), full_matrices=False)
    matrix = (u * torch.linspace(1, 5, min(shape))) @ vh
    actual = orthogonalize(matrix)
    torch.testing.assert_close(actual.double(), reference(matrix), rtol=0, atol=1e-4)
    assert torch.linalg.svdvals(actual).sub(1).abs().max() < 0.35
    torch.testing.assert_close(orthogonalize(100 * matrix), actual, rtol=0, atol=1e-4)  # length says nothing


def test_nothing_stays_nothing_and_the_type_stays():
    assert torch.equal(orthogonalize(torch.zeros(3, 5)), torch.zeros(3, 5))
    assert orthogonalize(torch.ones(3, 5, dtype=torch.float64)).dtype == torch.float64


def test_two_steps_of_a_convolution():
    """Nesterov's momentum of the flattened kernels, 0.2 sqrt(max(M, N)) times the learning rate, decay apart."""
    generator = torch.Generator().manual_seed(1)
    weight = nn.Parameter(torch.randn(4, 3, 3, 3, generator=generator))
    expected = weight.detach().double().reshape(4, 27)
    optimizer = Muon([weight], lr=0.01, momentum=0.9, weight_decay=0.5)
    average = torch.zeros(4, 27, dtype=torch.float64)
    for _ in range(2):
        gradient = torch.randn(4, 3, 3, 3, generator=generator)
        weight.grad = gradient
        optimizer.step()
        average = 0.9 * average + 0.1 * gradient.double().reshape(4, 27)
        update = reference(0.1 * gradient.double().reshape(4, 27) + 0.9 * average)
        expected = expected * (1 - 0.01 * 0.5) - 0.01 * 0.2 * math.sqrt(27) * update
    torch.testing.assert_close(weight.detach().double().reshape(4, 27), expected, rtol=0, atol=1e-5)


def test_what_muon_cannot_take():
    with pytest.raises(ValueError, match="two dimensions"):
        Muon([nn.Parameter(torch.zeros(3))], lr=0.1)
    optimizer = Muon([nn.Parameter(torch.zeros(3, 3))], lr=0.1)
    optimizer.step()  # a parameter without a gradient is left as it is
    with pytest.raises(ValueError, match="closure"):
        optimizer.step(lambda: None)


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_every_parameter_has_one_optimizer(name: str):
    model = create_model(**TINY, class_cond=True)
    optimizers = make_optimizers(model, name, lr=0.1, weight_decay=0.2)
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    assert all(group["lr"] == 0.1 and group["weight_decay"] == 0.2 for group in groups)
    taken = [id(p) for group in groups for p in group["params"]]
    assert sorted(taken) == sorted(id(p) for p in model.parameters())


def test_muon_takes_the_weights_of_hidden_layers_alone():
    model = create_model(**TINY, class_cond=True)
    adamw, muon = make_optimizers(model, "muon", lr=0.1, weight_decay=0.0)
    names = {id(p): key for key, p in model.named_parameters()}
    of_muon = {names[id(p)] for p in muon.param_groups[0]["params"]}
    of_adamw = {names[id(p)] for p in adamw.param_groups[0]["params"]}
    assert "middle_block.0.in_layers.2.weight" in of_muon and "time_embed.2.weight" in of_muon
    assert {"input_blocks.0.0.weight", "out.2.weight", "label_emb.weight"} <= of_adamw
    assert all(key.endswith(".weight") for key in of_muon)
    assert not any(".norm." in key for key in of_muon)


def test_another_name_is_refused():
    with pytest.raises(ValueError, match="'sgd', but must be one of adamw, muon"):
        make_optimizers(create_model(**TINY), "sgd", 0.1, 0.0)
