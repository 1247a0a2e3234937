"""Single settings changed: what they change, what they leave, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guided_diffusion.admm import FixedBalance
from guided_diffusion.config import DiffusionConfig
from guided_diffusion.em_paper import Paper
from guided_diffusion.em_released import Released
from guided_diffusion.fusion import iteration_count, step_count
from guided_diffusion.fusion_config import FusionConfig
from guided_diffusion.gaussian_diffusion import GaussianDiffusion
from guided_diffusion.local.em import Local, LocalFast
from guided_diffusion.rectification import RECTIFICATIONS
from util.overrides import override

PROCESS = DiffusionConfig()


def changed(fusion: FusionConfig, **changes: Any) -> FusionConfig:
    return override(fusion, PROCESS, **changes)[0]


def steps_of(fusion: FusionConfig, diffusion: DiffusionConfig) -> int:
    """That a pair takes, as a run counts them."""
    process = GaussianDiffusion.from_config(diffusion)
    if fusion.prior is True:
        return step_count(process, fusion.warm_start)
    return iteration_count(process, fusion.em)


def test_what_is_not_asked_for_stays():
    fusion, diffusion = FusionConfig(seed=5), DiffusionConfig(timestep_respacing="ddim50")
    assert override(fusion, diffusion) == (fusion, diffusion)
    assert override(fusion, diffusion, seed=6, noise=None) == (FusionConfig(seed=6), diffusion)


@given(steps=st.integers(2, 401), warm_start=st.sampled_from([None, 400, 999]))
def test_a_pair_takes_the_steps_asked_for(steps: int, warm_start: int | None):
    fusion, diffusion = override(FusionConfig(warm_start=warm_start), PROCESS, steps=steps)
    assert steps_of(fusion, diffusion) == steps
    if warm_start == 400:  # from there, as near as an even spacing of so many steps comes
        kept = [t for t in GaussianDiffusion.from_config(diffusion).timestep_map if t <= 400]
        assert 400 - kept[-1] <= 400 / (steps - 1) / 2 + 1


@pytest.mark.parametrize(
    "fusion",
    [
        FusionConfig(prior=False),
        FusionConfig(em=Local(), prior="noise", noise="auto"),
        FusionConfig(em=Local()),
        FusionConfig(em=LocalFast()),
        FusionConfig(em=FixedBalance(phi=0.1), prior=False),
    ],
)
def test_whatever_takes_the_steps(fusion: FusionConfig):
    assert steps_of(*override(fusion, PROCESS, steps=7)) == 7


def test_a_spacing_that_has_the_steps_already_stays():
    quick = FusionConfig(warm_start=400), DiffusionConfig(timestep_respacing=62)
    assert override(*quick, steps=25) == quick


def test_another_variant_has_its_own_defaults_and_keeps_what_was_changed():
    assert changed(FusionConfig(), variant="paper").em == Paper()
    assert changed(FusionConfig(em=Released(tv=False)), variant="paper").em == Paper(tv=False)
    assert changed(FusionConfig(em=Paper(cap=None)), variant="paper").em == Paper(cap=None)
    assert changed(FusionConfig(em=LocalFast(tone=0.4)), variant="local", steps=None).em == Local(tone=0.4)
    fixed = FusionConfig(em=FixedBalance(phi=0.1, roles="released"))
    assert changed(fixed, variant="paper").em == FixedBalance(phi=0.1, roles="paper")


def test_noise_asks_the_prior_and_its_absence_does_not():
    local = FusionConfig(em=Local(), prior="noise", noise="auto")
    assert changed(local, noise="off") == FusionConfig(em=Local(), prior=False)
    fast = FusionConfig(em=LocalFast(), prior=False)
    assert changed(fast, noise=[20.0, 0.0]).prior == "noise"
    assert changed(FusionConfig(), noise="auto").prior is True
    assert changed(FusionConfig(), noise="off") == FusionConfig()


@pytest.mark.parametrize(
    "fusion, changes, words",
    [
        (FusionConfig(), {"steps": 1}, "steps is 1, but must be from 2 to 1000"),
        (FusionConfig(), {"steps": 1001}, "from 2 to 1000"),
        (FusionConfig(warm_start=400), {"steps": 500}, "to 401, as many as there are to the warm start at"),
        (FusionConfig(prior=False), {"steps": 0}, "from 1 to 1000"),
        (FusionConfig(em=Local(), prior=False), {"steps": 0}, "1 or more"),
        (FusionConfig(em=LocalFast(), prior=False), {"steps": 3},
         "local_fast has no steps; the variants that have: released, paper, fixed_balance, local"),
        (FusionConfig(), {"tone": 0.5}, "released has no tone; the variants that have: local, local_fast"),
        (FusionConfig(em=Local()), {"tone": 1.5}, "tone is 1.5"),
        (FusionConfig(), {"noise": [300.0, 0.0]}, "noise is"),
        (FusionConfig(), {"variant": "papr"}, "no rectification 'papr'; there are released, paper"),
        (FusionConfig(), {"variant": "fixed_balance"}, "em.phi is missing"),
        (FusionConfig(em=Local(tone=0.5)), {"variant": "released"}, "unknown key em.tone"),
        (FusionConfig(em=FixedBalance(phi=0.1)), {"variant": "local"}, "unknown key em.phi"),
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_be(fusion: FusionConfig, changes: dict[str, Any], words: str):
    with pytest.raises(ValueError, match=words):
        override(fusion, PROCESS, **changes)


def test_every_variant_can_be_asked_for():
    """Those that a table lists and whose settings all have defaults."""
    for variant in set(RECTIFICATIONS) - {"fixed_balance"}:
        assert type(changed(FusionConfig(), variant=variant).em) is RECTIFICATIONS[variant]
