"""Schedules and respacing: against published timesteps and coefficients, and the defining equations."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guided_diffusion.respace import Schedule, named_betas, respaced_betas, space_timesteps

GOLDEN = Path(__file__).parents[1] / "golden"
RESPACING = json.loads((GOLDEN / "respacing.json").read_text())


@pytest.mark.parametrize("case", RESPACING)
def test_timesteps_equal_the_published_ones(case: str) -> None:
    steps, spec = case.split("|")
    assert space_timesteps(int(steps), spec) == RESPACING[case]
    if "ddim" not in spec:
        numbers = [int(part) for part in spec.split(",")]
        assert space_timesteps(int(steps), numbers) == RESPACING[case]
        if len(numbers) == 1:
            assert space_timesteps(int(steps), numbers[0]) == RESPACING[case]


def test_empty_spec_keeps_all() -> None:
    assert space_timesteps(7, "") == list(range(7))


@st.composite
def sections(draw: st.DrawFn) -> tuple[int, list[int]]:
    """A number of steps and, for each of some sections, a count that fits."""
    sizes = draw(st.integers(1, 6))
    steps = draw(st.integers(sizes, 5000))
    return steps, [draw(st.integers(1, steps // sizes)) for _ in range(sizes)]


@given(sections())
def test_sections_are_spread_evenly(case: tuple[int, list[int]]) -> None:
    steps, counts = case
    kept = space_timesteps(steps, counts)
    assert len(kept) == sum(counts)
    assert kept == sorted(set(kept))
    first = 0
    for section, indices in enumerate(np.array_split(np.arange(steps), len(counts))):
        mine = kept[first : first + counts[section]]
        first += counts[section]
        assert mine[0] == indices[0]
        if len(mine) > 1:
            assert mine[-1] == indices[-1]
            # Rounding moves a position by at most 1/2, so a gap by at most 1.
            assert np.abs(np.diff(mine) - (len(indices) - 1) / (len(mine) - 1)).max() <= 1.0 + 1e-9


@given(st.integers(1, 5000), st.integers(1, 5000))
def test_ddim_spec_has_one_stride(steps: int, stride: int) -> None:
    count = len(range(0, steps, stride))
    kept = space_timesteps(steps, f"ddim{count}")
    assert len(kept) == count
    assert kept[0] == 0
    assert kept[-1] < steps
    assert len(set(np.diff(kept))) <= 1


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (1001, "asks for 1001 timesteps of section 1, but .* 1 to 1000"),
        ("500,501", "asks for 501 timesteps of section 2"),
        (0, "positive"),
        (-5, "positive"),
        ("10,0", "positive"),
        ([10, -1], "positive"),
        ([10.5], "positive integers"),
        (True, "positive integers"),
        ([], "must be"),
        ("ddim", 'or "ddimN"'),
        ("ddim0", "positive"),
        ("ddim300", "nearest that exist: ddim250 and ddim334"),
        ("ddim2000", "nearest that exist: ddim1000$"),
        ("fast", "numbers per section"),
        ("10,", "numbers per section"),
        ("10;20", "numbers per section"),
    ],
)
def test_bad_spec_says_what_is_allowed(spec, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        space_timesteps(1000, spec)


def test_linear_betas() -> None:
    betas = named_betas("linear", 1000)
    assert betas.dtype == np.float64
    assert betas[0] == 1e-4
    assert betas[-1] == 0.02
    # The scale keeps the total noise: sum(beta) is the same whatever the number of steps.
    np.testing.assert_allclose(named_betas("linear", 250).sum(), betas.sum(), rtol=1e-12)


def test_cosine_betas_follow_the_cosine() -> None:
    betas = named_betas("cosine", 1000)
    t = np.arange(1, 1000) / 1000  # the last beta is cut to 0.999, where alphas_cumprod would be 0
    expected = np.cos((t + 0.008) / 1.008 * np.pi / 2) ** 2 / np.cos(0.008 / 1.008 * np.pi / 2) ** 2
    np.testing.assert_allclose(np.cumprod(1 - betas)[:-1], expected, rtol=1e-9)
    assert betas.max() == betas[-1] == 0.999


@pytest.mark.parametrize(
    ("schedule", "steps", "message"),
    [
        ("sigmoid", 1000, "linear, cosine"),
        ("linear", 0, "at least 1"),
        ("cosine", -3, "at least 1"),
        ("linear", 20, "more than 20 steps"),
    ],
)
def test_bad_schedule(schedule: str, steps: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        named_betas(schedule, steps)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
@pytest.mark.parametrize("spec", [1, 10, "10,15,20", "ddim50", ""])
def test_respacing_keeps_alphas_cumprod(schedule: str, spec: int | str) -> None:
    betas = named_betas(schedule, 1000)
    kept = space_timesteps(1000, spec)
    ratios, expected = 1 - respaced_betas(betas, kept), np.cumprod(1 - betas)[kept]
    # a beta near 1 has been rounded by 2^-53, which is much of what it lacks; each of 1000 products twice
    relative = 2**-53 * (2 * np.cumsum(1 / ratios) + 2 * len(betas))
    assert (np.abs(np.cumprod(ratios) - expected) <= relative * expected).all()


@pytest.mark.parametrize("kept", [[], [3, 2], [2, 2], [-1, 2], [0, 1000]])
def test_respacing_rejects_disorder(kept: list[int]) -> None:
    with pytest.raises(ValueError, match=r"ascend within 0 \.\.\. 999"):
        respaced_betas(named_betas("linear", 1000), kept)


def make_schedule(spec: int | str = 100) -> Schedule:
    kept = space_timesteps(1000, spec)
    return Schedule(respaced_betas(named_betas("linear", 1000), kept), np.array(kept))


def test_schedule_equals_the_published_one() -> None:
    schedule = make_schedule(100)
    with np.load(GOLDEN / "schedule_100.npz") as golden:
        for name in golden:
            # float64 on both sides; 1e-12 allows another order of the same operations
            np.testing.assert_allclose(getattr(schedule, name), golden[name], rtol=1e-12, atol=1e-12)


def test_posterior_is_the_product_of_its_two_gaussians() -> None:
    """q(x_{t-1} | x_t, x_0) ~ N(x_{t-1}; sqrt(a') x_0, 1 - a') N(x_t; sqrt(1 - beta) x_{t-1}, beta)."""
    schedule = make_schedule(100)
    beta, before = schedule.betas[1:], schedule.alphas_cumprod_prev[1:]
    precision = 1 / (1 - before) + (1 - beta) / beta
    # Both sides lose a few digits of float64 where 1 - alphas_cumprod is small.
    np.testing.assert_allclose(schedule.posterior_variance[1:], 1 / precision, rtol=1e-9)
    np.testing.assert_allclose(
        schedule.posterior_mean_coef1[1:], np.sqrt(before) / (1 - before) / precision, rtol=1e-9
    )
    np.testing.assert_allclose(
        schedule.posterior_mean_coef2[1:], np.sqrt(1 - beta) / beta / precision, rtol=1e-9
    )


def test_first_step_has_a_finite_log_variance() -> None:
    schedule = make_schedule(100)
    assert schedule.posterior_variance[0] == 0
    assert schedule.posterior_log_variance_clipped[0] == np.log(schedule.posterior_variance[1])
    assert schedule.fixed_large_log_variance[0] == np.log(schedule.posterior_variance[1])
    np.testing.assert_array_equal(schedule.fixed_large_log_variance[1:], np.log(schedule.betas[1:]))
    assert np.isfinite(make_schedule(1).posterior_log_variance_clipped).all()


def test_schedule_is_read_only() -> None:
    schedule = make_schedule(10)
    with pytest.raises(ValueError, match="read-only"):
        schedule.betas[0] = 0.5
    with pytest.raises(AttributeError):
        schedule.betas = np.zeros(3)  # pyright: ignore[reportAttributeAccessIssue]
