"""Likelihood rectification: one EM iteration on the luma of a denoised estimate.

With the sources i and v and the estimate f, all (B, 1, H, W), let y = i - v and x = f - v. The hierarchical
model of the paper has y - x and x Laplace distributed, written as Gaussian scale mixtures,

    y - x | m ~ N(0, m),  m ~ Exp(mean gamma);      x | n ~ N(0, n),  n ~ Exp(mean rho),

and a total variation prior on x split off as k = x, u = grad k. An iteration is Algorithm 1: the E-step takes
the expectations of 1/m and 1/n, the M-step updates the scales gamma, rho, then k, u and x.

Two variants (``EMConfig.variant``):

``paper``     as derived. Bind i to the infrared and v to the visible image. Returns f = v + x (30).
``released``  what the published code computes. It binds i to the *visible* and v to the *infrared* image, it
              returns i - x where the derivation gives v + x, it solves for k and u in y - x instead of x,
              it caps the weight of v, and its gradients differ (see ``psf.released_gradient``). Its names
              for m, n, gamma, rho, k, u are C, D, tau_a, tau_b, H and F1, F2.

Binding the images is the caller's; so is which luma f is. ``EMConfig.lamb`` and ``EMConfig.rho`` are the
paper's psi and eta, and are called so here: rho is the scale of n.

All functions are pure, work on float32 and per image: a batch gives what its members give alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from guided_diffusion.admm import ADMMState, admm_sweep
from guided_diffusion.config import EMConfig
from guided_diffusion.psf import GradientTransfer, gradient_transfer, periodic_gradient, released_gradient

GUARD = 1e-6
"""Added to x^2 and (y - x)^2, so that the weights stay finite where a residual is 0: residuals below 1e-3,
an eighth of a grey level, count as 1e-3."""


@dataclass(frozen=True, eq=False)
class EMProblem:
    """What stays the same from step to step: sources, y = i - v, (B, 1, H, W) float32, and K1, K2."""

    config: EMConfig
    i: Tensor
    v: Tensor
    y: Tensor
    transfer: GradientTransfer


@dataclass(frozen=True, eq=False)
class EMState:
    """What one step hands to the next. gamma, rho: (B, 1, 1, 1) scales; u1, u2: (B, 1, H, W), u of (27)."""

    gamma: Tensor
    rho: Tensor
    u1: Tensor
    u2: Tensor


State = EMState | ADMMState
"""An EMState or, with ``phi`` set, the duals of ADMM."""


def prepare(config: EMConfig, i: Tensor, v: Tensor) -> EMProblem:
    """Check the sources, and compute once what every step needs.

    i, v: (B, 1, H, W) luma in [-1, 1] on one device, any floating type; computed with in float32.
    Raises ValueError for sources that do not fit.
    """
    if i.shape != v.shape or i.ndim != 4 or i.shape[1] != 1 or min(i.shape[2:]) < 2:
        raise ValueError(
            "the sources must both be (B, 1, H, W) with H and W at least 2, "
            f"but are {tuple(i.shape)} and {tuple(v.shape)}"
        )
    if i.device != v.device:
        raise ValueError(f"the sources lie on different devices, {i.device} and {v.device}")
    i, v = _float32(i), _float32(v)
    with torch.autocast(i.device.type, enabled=False):
        transfer = gradient_transfer((i.shape[2], i.shape[3]), i.device)
        return EMProblem(config, i, v, i - v, transfer)


def init_state(problem: EMProblem) -> State:
    """The state before the first step: gamma = rho = 1 and u = 0, or with ``phi`` set duals of 0."""
    zeros = torch.zeros_like(problem.y)
    if problem.config.phi is not None:
        return ADMMState(zeros, zeros)
    ones = torch.ones_like(problem.y[:, :, :1, :1])
    return EMState(ones, ones, zeros, zeros)


def em_step(problem: EMProblem, state: State, f: Tensor) -> tuple[Tensor, State]:
    """One rectification of the estimate f by both sources: E-step and M-step, once.

    f: (B, 1, H, W) luma, any floating type, on the device of the sources. Returns the rectified luma,
    float32, not clamped, and the state for the next step. ``f`` and ``state`` are left as they are.

    With ``phi`` set there are no latents, and ``cap`` and ``eta`` have no say: one sweep of ADMM on Eq. (8)
    starts from the x of f. Here x is what the variant's read-out inverts (paper: f - v, released: i - f), so
    that feeding the result back is plain ADMM; and as the released roles are swapped too, both variants then
    minimise the same function of f.

    Raises ValueError if f or the state does not fit the problem.
    """
    if f.shape != problem.y.shape:
        raise ValueError(f"the estimate is {tuple(f.shape)}, the sources are {tuple(problem.y.shape)}")
    if isinstance(state, ADMMState) != (problem.config.phi is not None):
        raise ValueError(
            f"a state of type {type(state).__name__} does not go with phi = {problem.config.phi}"
        )
    f = _float32(f)
    with torch.autocast(f.device.type, enabled=False):
        if isinstance(state, ADMMState):
            return _admm_step(problem, state, f)
        if problem.config.variant == "released":
            return _released_step(problem, state, f)
        return _paper_step(problem, state, f)


def _paper_step(problem: EMProblem, state: EMState, f: Tensor) -> tuple[Tensor, EMState]:
    """Algorithm 1 of the paper, with Eq. (16) put right (see :func:`inverse_expectations`)."""
    config, y, x = problem.config, problem.y, f - problem.v
    # E-step, (16); the cap bounds the weight of v in the x-update only
    m, n = inverse_expectations(config, y, x, state.gamma, state.rho)
    # M-step: scales, (31)
    gamma, rho = scale_update(m, state.gamma), scale_update(n, state.rho)
    n = cap_weight(config, m, n)
    k, u1, u2 = None, state.u1, state.u2
    if config.tv:
        k = k_update(problem.transfer, x, u1, u2)  # (25)
        u1, u2 = u_update(periodic_gradient(k), config.lamb, config.rho)  # (27)
    x = x_update(y, m, n, k, config.rho)  # (29)
    return problem.v + x, EMState(gamma, rho, u1, u2)  # (30)


def _released_step(problem: EMProblem, state: EMState, f: Tensor) -> tuple[Tensor, EMState]:
    """The iteration of the released implementation; its quirks are named where they differ from the paper."""
    config, y, x = problem.config, problem.y, f - problem.v
    m, n = inverse_expectations(config, y, x, state.gamma, state.rho)
    n = cap_weight(config, m, n)  # quirk: before the scales, so that rho (tau_b) sees the capped weight
    gamma, rho = scale_update(m, state.gamma), scale_update(n, state.rho)
    k, u1, u2 = None, state.u1, state.u2
    if config.tv:
        h = k_update(problem.transfer, y - x, u1, u2)  # quirk: splits off y - x, not x
        u1, u2 = u_update(released_gradient(h), config.lamb, config.rho)
        k = y - h
    x = x_update(y, m, n, k, config.rho)
    return problem.i - x, EMState(gamma, rho, u1, u2)  # quirk: the derivation gives v + x


def _admm_step(problem: EMProblem, state: ADMMState, f: Tensor) -> tuple[Tensor, ADMMState]:
    """One sweep of ADMM on Eq. (8), x as the variant reads it out."""
    config = problem.config
    phi = 0.0 if config.phi is None else config.phi
    psi = config.lamb if config.tv else 0.0
    released = config.variant == "released"
    x = problem.i - f if released else f - problem.v
    x, state = admm_sweep(problem.y, problem.transfer, phi, psi, x, state)
    return problem.i - x if released else problem.v + x, state


def inverse_expectations(
    config: EMConfig, y: Tensor, x: Tensor, gamma: Tensor, rho: Tensor
) -> tuple[Tensor, Tensor]:
    """E-step, Eq. (16): the expectations of 1/m and 1/n given x, without the cap.

    y, x: (B, 1, H, W); gamma, rho: (B, 1, 1, 1). Given x, 1/m is inverse Gaussian of mean
    sqrt(2 / (gamma (y - x)^2)) and shape 2 / gamma; likewise 1/n with rho and x. (Eq. (16) is printed upside
    down.) :data:`GUARD` keeps both finite; the released implementation adds it to y - x *before* the square.
    """
    if config.variant == "released":
        # The clamp is ours: at y - x = -1e-6 the released code divides by 0. It reaches no further than 1e-8.
        residual_squared = (y - x + GUARD).square().clamp(min=1e-16)
    else:
        residual_squared = (y - x).square() + GUARD
    return (2 / gamma / residual_squared).sqrt(), (2 / rho / (x.square() + GUARD)).sqrt()


def cap_weight(config: EMConfig, m: Tensor, n: Tensor) -> Tensor:
    """n bounded by ``cap`` times m (quirk: the released code has 2, the paper does not mention it)."""
    return n if config.cap is None else torch.minimum(n, config.cap * m)


def scale_update(inverse_expectation: Tensor, scale: Tensor) -> Tensor:
    """M-step for gamma or rho, Eq. (31): the mean over the image of E[m] = 1 / E[1/m] + scale / 2.

    inverse_expectation: (B, 1, H, W), E[1/m]; scale: (B, 1, 1, 1), the one it was taken with. Returns
    (B, 1, 1, 1). Summed in double precision, so that the result does not depend on the batch.
    """
    expectation = 1 / (inverse_expectation + 1e-10) + scale / 2
    return expectation.mean(dim=(1, 2, 3), keepdim=True, dtype=torch.float64).float()


def k_update(transfer: GradientTransfer, x: Tensor, u1: Tensor, u2: Tensor) -> Tensor:
    """Eq. (25): the k that minimises ||k - x||^2 + ||grad k - u||^2, periodic gradient. All (B, 1, H, W)."""
    fx, f1, f2 = torch.fft.rfft2(torch.cat((x, u1, u2), dim=1)).split(1, dim=1)  # (B, 1, H, W // 2 + 1) each
    spectrum = (fx + transfer.k1.conj() * f1 + transfer.k2.conj() * f2) / (1 + transfer.power)
    return torch.fft.irfft2(spectrum, s=x.shape[-2:])


def u_update(gradient: tuple[Tensor, Tensor], psi: float, eta: float) -> tuple[Tensor, Tensor]:
    """Eq. (27): the u that minimises psi ||u||^2 + eta / 2 ||u - grad k||^2, from the gradient of k."""
    shrink = eta / (2 * psi + eta)
    return shrink * gradient[0], shrink * gradient[1]


def x_update(y: Tensor, m: Tensor, n: Tensor, k: Tensor | None, eta: float) -> Tensor:
    """Eq. (29): the x that minimises sum m (y - x)^2 + n x^2 + eta / 2 (k - x)^2; m, n: E[1/m], E[1/n].

    ``k`` None drops the last term (no total variation).
    """
    if k is None:
        return m * y / (m + n)
    return (2 * m * y + eta * k) / (2 * m + 2 * n + eta)


def _float32(image: Tensor) -> Tensor:
    """``image`` in float32. Raises ValueError for integers, which cannot be luma in [-1, 1]."""
    if not image.is_floating_point():
        raise ValueError(f"expected luma in [-1, 1] of a floating type, got {image.dtype}")
    return image.float()
