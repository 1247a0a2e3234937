"""The EM rectification against goldens, quadrature, linear solves, gradients and a generic convex solver.

Where no other reason is given, 1e-6 is float32 rounding of numbers of order 1.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.optimize import minimize
from torch import Tensor

from guided_diffusion import em
from guided_diffusion.admm import FixedBalance, soft_threshold
from guided_diffusion.em_paper import Paper
from guided_diffusion.em_released import Released
from guided_diffusion.psf import gradient_transfer, periodic_gradient, psf2otf, released_gradient
from guided_diffusion.rectification import Rectification
from tests.made_up import noise

GOLDEN = Path(__file__).parents[1] / "golden" / "em_released.npz"
RELEASED = Released()
PAPER = Paper(cap=None)
Config = Rectification[Any]
CONFIGS = {
    "released": RELEASED,
    "released without cap": dataclasses.replace(RELEASED, cap=None),
    "released without tv": dataclasses.replace(RELEASED, tv=False),
    "released, phi 1": FixedBalance(1.0, roles="released"),
    "paper": PAPER,
    "paper, cap 2": dataclasses.replace(PAPER, cap=2.0),
    "paper without tv": dataclasses.replace(PAPER, tv=False),
    "paper, phi 0.7": FixedBalance(0.7),
}
every_config = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
Variant = Literal["released", "paper"]
shapes = pytest.mark.parametrize("shape", [(6, 8), (5, 7), (6, 7), (5, 8), (2, 3)], ids=str)


pytestmark = pytest.mark.usefixtures("one_thread")


def scene(height: int = 24, width: int = 41) -> tuple[Tensor, Tensor]:
    """A warm blob on a smooth ground (i), and stripes with a bright half (v): (1, 1, H, W) in [-1, 1]."""
    row = torch.linspace(-1, 1, height)[:, None]
    column = torch.linspace(-1, 1, width)[None]
    i = -0.6 + 0.2 * row + 1.2 * torch.exp(-((column - 0.3) ** 2 + row**2) / 0.1)
    v = 0.3 * torch.sin(11 * column + 3 * row) + 0.4 * (column > 0) - 0.1
    return i[None, None], v[None, None]


def run(config: Config, i: Tensor, v: Tensor, estimates: list[Tensor]) -> list[Tensor]:
    """The rectified luma of each estimate, the state carried along."""
    state, fused = begin(config, i, v), []
    for f in estimates:
        out, state = config.step(state, f)
        fused.append(out)
    return fused


def begin(config: Any, i: Tensor, v: Tensor) -> Any:
    """The first state with the sources bound to i and v: those with the released roles take them the other way."""
    swapped = getattr(config, "luma", "full") == "studio"
    return config.start((v, i) if swapped else (i, v))


def feed_back(config: Config, i: Tensor, v: Tensor, f: Tensor, steps: int) -> Tensor:
    """EM alone: every result is the next estimate."""
    state = begin(config, i, v)
    for _ in range(steps):
        f, state = config.step(state, f)
    return f


def scale(value: float) -> Tensor:
    return torch.full((1, 1, 1, 1), value)


# ---- the released numbers


def test_released_golden_chain_with_every_latent():
    """Fused within 1e-5, as the goldens ask; C, D relative, since C runs to 2e4; H, F, tau by rounding."""
    golden = {name: torch.from_numpy(np.atleast_1d(array)) for name, array in np.load(GOLDEN).items()}
    config = Released(lamb=float(golden["lamb"]), rho=float(golden["rho"]))
    state = begin(config, golden["I"], golden["V"])
    problem = state.problem
    for step in range(3):
        want = {name: golden[f"{name}_{step}"].float() for name in ("fused", "C", "D", "F1", "F2", "H")}
        x = golden[f"f_{step}"] - problem.v
        c, d = config.expectations(problem.y, x, state)
        d = em.cap_weight(c, d, config.cap)
        h = em.k_update(problem.transfer, problem.y - x, state.u1, state.u2)
        fused, state = config.step(state, golden[f"f_{step}"])
        torch.testing.assert_close(fused, want["fused"], rtol=0, atol=1e-5)
        torch.testing.assert_close(c, want["C"], rtol=1e-5, atol=0)
        torch.testing.assert_close(d, want["D"], rtol=1e-5, atol=0)
        torch.testing.assert_close(h, want["H"], rtol=0, atol=2e-6)
        # F is of order 1e-3
        torch.testing.assert_close(state.u1, want["F1"], rtol=0, atol=1e-8)
        torch.testing.assert_close(state.u2, want["F2"], rtol=0, atol=1e-8)
        assert state.gamma.item() == pytest.approx(golden[f"tau_a_{step}"].item(), rel=1e-6)
        assert state.rho.item() == pytest.approx(golden[f"tau_b_{step}"].item(), rel=1e-6)


def test_released_gradient_sees_zeros_outside_and_has_the_sign_opposite_to_the_transfer_function():
    h = noise(0, 1, 1, 5, 6)
    dx, dy = released_gradient(h)
    px, py = periodic_gradient(h)
    assert torch.equal(dx[..., :-1], -px[..., :-1])
    assert torch.equal(dy[..., :-1, :], -py[..., :-1, :])
    assert torch.equal(dx[..., -1], h[..., -1])
    assert torch.equal(dy[..., -1, :], h[..., -1, :])


# ---- transfer functions


def test_psf2otf_of_a_difference_has_the_values_of_matlab():
    """[-1 0 0 1] after padding and centring, whose DFT is known; 1e-6 is rounding."""
    otf = psf2otf(torch.tensor([[1.0, -1.0]]), (1, 4))
    torch.testing.assert_close(otf, torch.tensor([[0, -1 + 1j, -2, -1 - 1j]]), rtol=0, atol=1e-6)


@shapes
@pytest.mark.parametrize("size", [(1, 2), (2, 1), (2, 3), (2, 2)], ids=str)
def test_psf2otf_multiplies_like_a_circular_convolution(shape: tuple[int, int], size: tuple[int, int]):
    """Against the sum of shifted images, in double precision: 1e-12."""
    psf, image = noise(1, *size, dtype=torch.float64), noise(2, *shape, dtype=torch.float64)
    direct = torch.zeros_like(image)
    for row in range(size[0]):
        for column in range(size[1]):
            shift = (row - size[0] // 2, column - size[1] // 2)
            direct += psf[row, column] * image.roll(shift, dims=(0, 1))
    by_fft = torch.fft.ifft2(torch.fft.fft2(image) * psf2otf(psf, shape)).real
    torch.testing.assert_close(by_fft, direct, rtol=0, atol=1e-12)


@shapes
def test_the_transfer_functions_are_those_of_the_periodic_gradient(shape: tuple[int, int]):
    image = noise(3, 1, 1, *shape)
    transfer = gradient_transfer(shape, image.device)
    for k, difference in zip((transfer.k1, transfer.k2), periodic_gradient(image), strict=True):
        by_fft = torch.fft.irfft2(k * torch.fft.rfft2(image), s=shape)
        torch.testing.assert_close(by_fft, difference, rtol=0, atol=1e-6)


def test_a_point_spread_function_larger_than_the_image_is_refused():
    with pytest.raises(ValueError, match="does not fit"):
        psf2otf(torch.ones(2, 1), (1, 4))


# ---- E-step and scales, against the densities of the hierarchical model


def posterior_moment(power: int, residual: float, mean: float) -> float:
    """E[m^power | residual] by quadrature over log m.

    Prior p(m) = exp(-m / mean) / mean (exponential of the given *mean*), likelihood N(residual; 0, m).
    """

    def density(log_m: float, exponent: int) -> float:
        m = np.exp(log_m)
        likelihood = np.exp(-(residual**2) / (2 * m)) / np.sqrt(2 * np.pi * m)
        return float(m**exponent * likelihood * np.exp(-m / mean) / mean * m)

    def integral(exponent: int) -> float:
        return quad(density, -25, 8, args=(exponent,), epsabs=0, epsrel=1e-9, limit=400)[0]

    return integral(power) / integral(0)


@pytest.mark.parametrize("mean", [0.05, 1.0, 3.0])
@pytest.mark.parametrize("residual", [0.1, 0.7, -1.8])
def test_the_prior_integrated_here_makes_the_residual_laplace(residual: float, mean: float):
    """Integrating m out must give the Laplace density of the paper's model, of scale b = sqrt(mean / 2).

    So :func:`posterior_moment` integrates the right prior. 1e-7: the quadrature's tolerance, with a margin.
    """

    def joint(log_m: float) -> float:
        m = np.exp(log_m)
        return np.exp(-(residual**2) / (2 * m) - m / mean) / mean * np.sqrt(m / (2 * np.pi))

    b = np.sqrt(mean / 2)
    marginal = quad(joint, -25, 8, epsabs=0, epsrel=1e-9, limit=400)[0]
    assert marginal == pytest.approx(np.exp(-abs(residual) / b) / (2 * b), rel=1e-7)


@pytest.mark.parametrize("config", [RELEASED, PAPER], ids=["released", "paper"])
@pytest.mark.parametrize("gamma, rho", [(1.0, 1.0), (0.05, 0.4), (3.0, 0.2)])
def test_expectations_and_scales_match_quadrature(config: Released | Paper, gamma: float, rho: float):
    """E[1/m], E[1/n] (16) and the image means of E[m], E[n] (31).

    1e-4 relative: GUARD changes a residual of 0.1, the smallest here, by 5e-5 of itself.
    """
    x = torch.tensor([0.1, -0.35, 0.8, 1.9]).reshape(1, 1, 2, 2)
    residual = torch.tensor([-0.6, 0.1, 1.3, -0.25]).reshape(1, 1, 2, 2)
    start = begin(config, torch.zeros_like(x), torch.zeros_like(x))
    state = dataclasses.replace(start, gamma=scale(gamma), rho=scale(rho))
    m, n = config.expectations(residual + x, x, state)
    for weight, values, mean in ((m, residual, gamma), (n, x, rho)):
        inverse = [posterior_moment(-1, value, mean) for value in values.flatten().tolist()]
        direct = [posterior_moment(1, value, mean) for value in values.flatten().tolist()]
        assert weight.flatten().tolist() == pytest.approx(inverse, rel=1e-4)
        assert em.scale_update(weight, scale(mean)).item() == pytest.approx(np.mean(direct), rel=1e-4)


def test_the_scale_converges_to_the_maximum_likelihood_estimate_of_the_laplace_scale():
    """With x held fixed EM must find b = mean |x|, that is rho = 2 b^2. 1e-4: the guard, 5e-5 at 0.1."""
    x = noise(4, 1, 1, 9, 11)
    x = x + 0.1 * x.sign()
    rho = scale(1.0)
    for _ in range(80):  # the error shrinks by 3/4 a step
        n = em.inverse_expectation(x.square() + em.GUARD, rho)
        rho = em.scale_update(n, rho)
    assert rho.item() == pytest.approx(2 * x.abs().mean().item() ** 2, rel=1e-4)


# ---- M-step: each update solves its sub-problem


def difference_matrix(shape: tuple[int, int], axis: int) -> np.ndarray:
    """The periodic forward difference as a dense matrix on flattened images."""
    index = np.arange(shape[0] * shape[1]).reshape(shape)
    return np.eye(index.size)[np.roll(index, -1, axis=axis).ravel()] - np.eye(index.size)


@shapes
def test_k_update_solves_its_linear_system(shape: tuple[int, int]):
    """(1 + D1'D1 + D2'D2) k = x + D1'u1 + D2'u2, densely in double precision."""
    x, u1, u2 = noise(5, 3, 1, 1, *shape)
    d1, d2 = difference_matrix(shape, axis=1), difference_matrix(shape, axis=0)
    flat = [z.double().numpy().ravel() for z in (x, u1, u2)]
    right = flat[0] + d1.T @ flat[1] + d2.T @ flat[2]
    want = np.linalg.solve(np.eye(right.size) + d1.T @ d1 + d2.T @ d2, right)
    k = em.k_update(gradient_transfer(shape, x.device), x[None], u1[None], u2[None])
    np.testing.assert_allclose(k.numpy().ravel(), want, rtol=0, atol=2e-6)


def test_u_update_has_zero_gradient():
    """Of psi ||u||^2 + eta / 2 ||u - grad k||^2, in double precision: 1e-12."""
    gradient = (noise(6, 1, 1, 4, 5, dtype=torch.float64), noise(7, 1, 1, 4, 5, dtype=torch.float64))
    psi, eta = 0.3, 0.2
    for u, g in zip(em.u_update(gradient, psi, eta), gradient, strict=True):
        u.requires_grad_()
        (psi * u.square().sum() + eta / 2 * (u - g).square().sum()).backward()
        assert u.grad is not None
        assert u.grad.abs().max() < 1e-12


@pytest.mark.parametrize("tv", [True, False])
def test_x_update_has_zero_gradient(tv: bool):
    """Of sum m (y - x)^2 + n x^2 + eta / 2 (k - x)^2, in double precision: 1e-12."""
    y, k, a, b = noise(8, 4, 1, 1, 4, 5, dtype=torch.float64)
    m, n, eta = a.abs() * 5, b.abs() * 5, 0.2
    x = em.x_update(y, m, n, k if tv else None, eta).requires_grad_()
    objective = (m * (y - x).square() + n * x.square()).sum()
    if tv:
        objective = objective + eta / 2 * (k - x).square().sum()
    objective.backward()
    assert x.grad is not None
    assert x.grad.abs().max() < 1e-12


def test_the_paper_step_is_its_updates_in_the_order_of_algorithm_1():
    """Two steps put together from the tested pieces and the full-spectrum k; rounding only."""
    i, v = scene()
    state, f = begin(PAPER, i, v), (i + v) / 2 + 0.1 * noise(9, *i.shape)
    gamma, rho, u = scale(1.0), scale(1.0), (torch.zeros_like(i), torch.zeros_like(i))
    k1, k2 = (
        psf2otf(kernel, (24, 41)) for kernel in (torch.tensor([[1.0, -1]]), torch.tensor([[1.0], [-1]]))
    )
    for _ in range(2):
        fused, state = PAPER.step(state, f)
        x, y = f - v, i - v
        m = (2 / gamma / ((y - x) ** 2 + 1e-6)).sqrt()
        n = (2 / rho / (x**2 + 1e-6)).sqrt()
        gamma, rho = (1 / m).mean() + gamma / 2, (1 / n).mean() + rho / 2
        spectrum = torch.fft.fft2(x) + k1.conj() * torch.fft.fft2(u[0]) + k2.conj() * torch.fft.fft2(u[1])
        k = torch.fft.ifft2(spectrum / (1 + k1.abs() ** 2 + k2.abs() ** 2)).real
        u = tuple(0.1 / 1.1 * g for g in periodic_gradient(k))
        want = v + (2 * m * y + 0.1 * k) / (2 * m + 2 * n + 0.1)
        torch.testing.assert_close(fused, want, rtol=0, atol=2e-6)
        f = fused + 0.05 * noise(10, *i.shape)


def test_the_cap_bounds_the_second_weight_only_where_it_is_exceeded():
    m, n = torch.tensor([1.0, 1.0]), torch.tensor([1.5, 9.0])
    assert em.cap_weight(m, n, 2.0).tolist() == [1.5, 2.0]
    assert em.cap_weight(m, n, None).tolist() == [1.5, 9.0]


@pytest.mark.parametrize("base", [RELEASED, PAPER], ids=["released", "paper"])
def test_the_cap_in_a_step(base: Released | Paper):
    """Out of reach it changes nothing; at 2 it does, on a pixel close to v; without TV x is then y / 3."""
    i, v = torch.full((1, 1, 4, 4), 0.8), torch.full((1, 1, 4, 4), -0.4)
    f = v + 0.01  # x = 0.01 and y - x = 1.19: n would be 119 m
    free, loose, tight = (
        run(dataclasses.replace(base, cap=cap, tv=False), i, v, [f])[0] for cap in (None, 1e9, 2.0)
    )
    assert torch.equal(free, loose)
    x = i - tight if isinstance(base, Released) else tight - v
    torch.testing.assert_close(x, (i - v) / 3, rtol=0, atol=1e-6)
    assert (free - tight).abs().min() > 0.3


def test_without_total_variation_eta_and_psi_have_no_say():
    i, v = scene()
    f = (i + v) / 2 + 0.1 * noise(11, *i.shape)
    for base in (RELEASED, PAPER):
        one = dataclasses.replace(base, tv=False)
        two = dataclasses.replace(base, tv=False, lamb=3.0, rho=0.7)
        assert torch.equal(run(one, i, v, [f, f])[1], run(two, i, v, [f, f])[1])
        assert not torch.equal(run(one, i, v, [f, f])[1], run(base, i, v, [f, f])[1])


# ---- ADMM (fixed phi)


def objective(x: np.ndarray, y: np.ndarray, phi: float, psi: float) -> float:
    """Eq. (8)."""
    smooth = sum(np.sum((np.roll(x, -1, axis) - x) ** 2) for axis in (0, 1))
    return float(np.abs(y - x).sum() + phi * np.abs(x).sum() + psi * smooth)


def solve_by_bounds(y: np.ndarray, phi: float, psi: float) -> np.ndarray:
    """Minimise Eq. (8) by L-BFGS-B, made smooth: x = low - a + b + c with a, c >= 0 and 0 <= b <= |y|.

    low = min(0, y) and low + |y| are the two kinks of |y - x| + phi |x|, whose slopes are -(1 + phi) below,
    sign(y) (phi - 1) between and 1 + phi above: ascending, so the minimum fills the pieces in order.
    """
    low, between = np.minimum(0, y), np.sign(y) * (phi - 1)

    def image(z: np.ndarray) -> np.ndarray:
        a, b, c = z.reshape(3, *y.shape)
        return low - a + b + c

    def value_and_gradient(z: np.ndarray) -> tuple[float, np.ndarray]:
        a, b, c = z.reshape(3, *y.shape)
        value, slope = np.sum((1 + phi) * (a + c) + between * b), np.zeros_like(y)
        for axis in (0, 1):
            difference = np.roll(image(z), -1, axis) - image(z)
            value += psi * np.sum(difference**2)
            slope += 2 * psi * (np.roll(difference, 1, axis) - difference)
        gradient = np.stack((1 + phi - slope, between + slope, 1 + phi + slope))
        return float(value), gradient.ravel()

    bounds = [(0, None)] * y.size + [(0, size) for size in np.abs(y).ravel()] + [(0, None)] * y.size
    start = np.concatenate((np.zeros(y.size), np.abs(y).ravel() / 2, np.zeros(y.size)))
    options = {"maxiter": 5000, "maxfun": 100000, "ftol": 1e-15, "gtol": 1e-9}
    found = minimize(value_and_gradient, start, jac=True, bounds=bounds, method="L-BFGS-B", options=options)
    return image(found.x)


@pytest.mark.parametrize("phi, psi", [(0.3, 0.5), (1.0, 0.5), (1.6, 0.5), (0.8, 2.0), (1.5, 0.0)])
@pytest.mark.parametrize("variant", ["released", "paper"])
def test_admm_fed_back_reaches_the_optimum_of_a_generic_solver(variant: Variant, phi: float, psi: float):
    """After 600 sweeps in float32: objective within 1e-5 of L-BFGS-B's; x within 2e-3, for it is flat there.

    The roles are bound as each variant wants them, so both must minimise the same function of f.
    """
    infrared, visible = scene(6, 7)
    y = (infrared - visible)[0, 0].double().numpy()
    config = FixedBalance(phi, lamb=psi, tv=psi > 0, roles=variant)
    i, v = (visible, infrared) if variant == "released" else (infrared, visible)
    fused = feed_back(config, i, v, (i + v) / 2, steps=600)
    x = (fused - visible)[0, 0].double().numpy()
    optimum = solve_by_bounds(y, phi, psi)
    assert objective(x, y, phi, psi) == pytest.approx(objective(optimum, y, phi, psi), rel=1e-5)
    if phi != 1:  # with phi = 1 whole stretches of x are equally good
        np.testing.assert_allclose(x, optimum, rtol=0, atol=2e-3)


def test_admm_without_smoothness_keeps_the_better_source():
    """psi dropped: phi below 1 costs least at x = y, above 1 at x = 0. 1e-3: slow where y is almost 0."""
    i, v = scene()
    for phi, want in ((0.5, i), (2.0, v)):
        config = FixedBalance(phi, tv=False)
        torch.testing.assert_close(feed_back(config, i, v, (i + v) / 2, 400), want, rtol=0, atol=1e-3)


def test_soft_threshold():
    z = torch.tensor([-2.0, -0.3, 0.0, 0.3, 2.0])
    assert soft_threshold(z, 0.5).tolist() == [-1.5, 0.0, 0.0, 0.0, 1.5]


# ---- EM alone: where feeding back leads


def test_the_released_variant_alone_stays_near_the_average():
    """Its read-out mirrors x at y / 2, so the average is its fixed point. 1e-3: eta = 0.001 moves it."""
    i, v = scene()
    fused = feed_back(RELEASED, i, v, (i + v) / 2, 100)
    torch.testing.assert_close(fused, (i + v) / 2, rtol=0, atol=1e-3)


@pytest.mark.parametrize("lean", [-0.15, 0.0, 0.15])
def test_the_paper_variant_alone_drives_each_pixel_to_one_source_the_same_for_all(lean: float):
    """Both scales shrink with their residuals, so the source that is nearer on the whole takes all pixels.

    From the average itself it is v, since TV makes x, and not y - x, smaller. 1e-3: the guard's residual.
    """
    i, v = scene()
    share = 0.5 + lean + 0.3 * noise(12, *i.shape) * (lean != 0)
    fused = feed_back(PAPER, i, v, v + share * (i - v), 100)
    torch.testing.assert_close(fused, i if lean > 0 else v, rtol=0, atol=1e-3)


def test_the_paper_variant_alone_with_a_cap_ends_at_a_weighted_average():
    """With n held at 2 m everywhere x = y / 3. 5e-3: TV, of weight eta = 0.1, moves it a little."""
    i, v = scene()
    fused = feed_back(dataclasses.replace(PAPER, cap=2.0), i, v, (i + v) / 2, 100)
    torch.testing.assert_close(fused, (i + 2 * v) / 3, rtol=0, atol=5e-3)


# ---- batches, degenerate images, types, errors


@every_config
@pytest.mark.parametrize("shape", [(24, 41), (33, 32)], ids=str)
def test_a_batch_equals_its_members_in_any_order(config: Config, shape: tuple[int, int]):
    i, v = noise(13, 3, 1, *shape), 0.2 * noise(14, 3, 1, *shape)
    estimates = [(i + v) / 2 + 0.2 * noise(seed, 3, 1, *shape) for seed in (15, 16, 17)]
    batch = run(config, i, v, estimates)[-1]
    backwards = run(config, i.flip(0), v.flip(0), [f.flip(0) for f in estimates])[-1].flip(0)
    singles = [run(config, i[[b]], v[[b]], [f[[b]] for f in estimates])[-1] for b in range(3)]
    torch.testing.assert_close(batch, backwards, rtol=0, atol=1e-6)
    torch.testing.assert_close(batch, torch.cat(singles), rtol=0, atol=1e-6)


@every_config
@pytest.mark.parametrize("case", ["constant", "constant and equal", "identical", "estimate on i", "zeros"])
def test_degenerate_images_stay_finite(config: Config, case: str):
    """No NaN or infinity, and nothing beyond the sources by more than half of the range, in 60 steps."""
    i, v = scene(8, 9)
    i, v, f = {
        "constant": (torch.full_like(i, 0.5), torch.full_like(i, -0.5), torch.full_like(i, 0.1)),
        "constant and equal": (torch.full_like(i, 0.5), torch.full_like(i, 0.5), torch.full_like(i, 0.5)),
        "identical": (i, i.clone(), i.clone()),
        "estimate on i": (i, v, i.clone()),
        "zeros": (torch.zeros_like(i), torch.zeros_like(i), torch.full_like(i, 1e-6)),
    }[case]
    for fused in (*run(config, i, v, [f] * 60), feed_back(config, i, v, f, 60)):
        assert fused.isfinite().all()
        assert fused.abs().max() <= 2.0


@pytest.mark.parametrize("config", [RELEASED, PAPER, CONFIGS["paper, phi 0.7"]])
def test_identical_sources_pull_the_estimate_onto_themselves(config: Config):
    """With y = 0 no x is better than 0. 1e-3: where the guard ends the pull; a start 0.2 away, 100 steps."""
    i, _ = scene()
    fused = feed_back(config, i, i, i + 0.2, 100)
    torch.testing.assert_close(fused, i, rtol=0, atol=1e-3)


@every_config
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_types_are_computed_with_in_float32(config: Config, dtype: torch.dtype):
    i, v = (z.to(dtype) for z in scene())
    f = ((i + v) / 2 + 0.1 * noise(18, *i.shape).to(dtype)).to(dtype)
    fused = run(config, i, v, [f, f])[-1]
    assert fused.dtype == torch.float32
    assert torch.equal(fused, run(config, i.float(), v.float(), [f.float(), f.float()])[-1])


@every_config
def test_autocast_does_not_reach_the_rectification(config: Config):
    i, v = scene()
    f = (i + v) / 2 + 0.1 * noise(19, *i.shape)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = run(config, i, v, [f, f])[-1]
    assert torch.equal(inside, run(config, i, v, [f, f])[-1])


@every_config
def test_a_step_leaves_its_arguments_as_they_are(config: Config):
    i, v = scene()
    f = (i + v) / 2 + 0.1 * noise(20, *i.shape)
    state = begin(config, i, v)
    first, _ = config.step(state, f)
    assert torch.equal(first, config.step(state, f)[0])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@every_config
def test_cuda_agrees_with_the_cpu_and_never_waits_for_the_host(config: Config):
    """1e-5, as between implementations: other FFTs, other order of sums."""
    i, v = scene()
    f = (i + v) / 2 + 0.1 * noise(21, *i.shape)
    want = run(config, i, v, [f, f])[-1]
    state, f = begin(config, i.cuda(), v.cuda()), f.cuda()
    fused, state = config.step(state, f)  # makes the FFT plans
    torch.cuda.set_sync_debug_mode("error")
    try:
        fused, state = config.step(state, f)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    torch.testing.assert_close(fused.cpu(), want, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", [Released, Paper, FixedBalance])
@pytest.mark.parametrize(
    "key, value", [("lamb", -0.1), ("rho", 0.0), ("cap", 0.0), ("phi", -1.0), ("rho", "much")]
)
def test_settings_out_of_range_are_refused_by_name(kind: Any, key: str, value: Any):
    if key not in {field.name for field in dataclasses.fields(kind)}:
        with pytest.raises(TypeError, match=key):
            kind(**{key: value})
        return
    with pytest.raises(ValueError, match=f"em.{key} is"):
        kind(**{"phi": 1.0, key: value} if kind is FixedBalance else {key: value})


def test_a_name_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match=r"em.roles is 'papr', but must be one of released, paper"):
        FixedBalance(1.0, roles="papr")  # pyright: ignore[reportArgumentType]


@every_config
def test_images_that_do_not_fit_are_refused(config: Config):
    i, v = scene()
    for wrong in ((i, v[..., 1:]), (i[0], v[0])):
        with pytest.raises(ValueError, match="sources must all be"):
            config.start(wrong)
    with pytest.raises(ValueError, match="floating"):
        config.start((i.byte(), v.byte()))
    with pytest.raises(ValueError, match="2 sources, but there are 3"):
        config.start((i, v, v))
    with pytest.raises(ValueError, match=r"source 1 spans .* \[-1, 1\]"):
        config.start((i, 255 * v))
    with pytest.raises(ValueError, match=r"source 0 spans nan"):
        config.start((i * float("nan"), v))
    with pytest.raises(ValueError, match="the estimate is"):
        config.step(begin(config, i, v), i[..., 1:])
