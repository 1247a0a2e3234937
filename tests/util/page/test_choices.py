"""What can be chosen, and what it becomes."""

from __future__ import annotations

from typing import Any

import pytest

from guided_diffusion.local.em import LocalFast
from util.files import project_root
from util.page.choices import METHODS, PRIORS, SCENES, Choices, priors
from util.presets import preset, presets
from util.prior import choose_prior


def test_every_method_is_a_preset():
    assert set(METHODS) <= set(presets())
    for name in METHODS:
        assert Choices(method=name).preset() == preset(name)


def test_every_prior_is_one():
    assert set(priors()) <= set(PRIORS)
    for name in set(PRIORS) - {"auto"}:
        choose_prior(name, project_root())


def test_choices_are_made():
    chosen = Choices("local", "mif", "grey", 5, "off", "mild").preset()
    em = chosen.fusion.em
    assert isinstance(em, LocalFast)
    assert (em.task, em.tone, em.iterations, chosen.fusion.noise, chosen.model_config) == (
        "mif", 0.2, 5, "off", "grey",
    )  # fmt: skip
    assert Choices("released", steps=7).preset().diffusion.timestep_respacing == 7
    several = Choices("quick", samples=4).preset().fusion
    assert (several.samples, several.eta, Choices("quick").preset().fusion.eta) == (4, 1.0, 0.0)
    assert Choices("local", samples=4).preset().fusion.eta == 0.0  # where no sampler takes steps
    for scene in SCENES:
        Choices("local", scene).preset()
        Choices("released", scene).preset()  # which knows no scenes


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"method": "magic"}, "no method 'magic'; there are local"),
        ({"method": ["local"]}, "no method"),
        ({"scene": "x" * 1000}, "no scene"),
        ({"prior": "../../models/x.pt"}, "no prior"),
        ({"noise": [1.0]}, "no noise"),
        ({"register": "magic"}, "register is 'magic', but must be one of off"),
        ({"tone": 7}, "no tone"),
        ({"samples": 1_000_000}, "no number of samples 1000000; there are 1, 4, 8, 16"),
        ({"steps": 2.5}, "steps is 2.5, but must be a whole number"),
        ({"steps": True}, "steps is True"),
    ],
)
def test_nothing_else_is(wrong: dict[str, Any], words: str):
    with pytest.raises(ValueError, match=words) as error:
        Choices(**wrong)
    assert len(str(error.value)) < 300


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        (Choices("released", tone="mild"), "released has no tone"),
        (Choices("released", steps=0), "steps is 0, but must be from 2"),
        (Choices("quick", steps=100_000), "but must be from"),
    ],
)
def test_what_does_not_go_together_is_said(choices: Choices, words: str):
    with pytest.raises(ValueError, match=words):
        choices.preset()
