"""The EM algorithm of the paper's hierarchical model: what its forms share, as functions.

With the sources i and v and the estimate f, all (B, 1, H, W), let y = i - v and x = f - v. The hierarchical
model of the paper has y - x and x Laplace distributed, written as Gaussian scale mixtures,

    y - x | m ~ N(0, m),  m ~ Exp(mean gamma);      x | n ~ N(0, n),  n ~ Exp(mean rho),

and a total variation prior on x split off as k = x, u = grad k. An iteration is Algorithm 1: the E-step takes
the expectations of 1/m and 1/n, the M-step updates the scales gamma, rho, then k, u and x. As derived it is
:class:`~guided_diffusion.em_paper.Paper`, as published in code :class:`~guided_diffusion.em_released.Released`.

The options ``lamb`` and ``rho`` of both, named as in the published configuration, are the paper's psi and eta, and
are called so here: rho is the scale of n.

All functions are pure, work on float32 and per image: a batch gives what its members give alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from guided_diffusion.psf import GradientTransfer, gradient_transfer
from guided_diffusion.sources import check_sources, exact

GUARD = 1e-6
"""Added to x^2 and (y - x)^2, so that the weights stay finite where a residual is 0: residuals below 1e-3,
an eighth of a grey level, count as 1e-3."""


@dataclass(frozen=True, eq=False)
class Problem:
    """What stays the same from step to step: sources, y = i - v, (B, 1, H, W) float32, and K1, K2."""

    i: Tensor
    v: Tensor
    y: Tensor
    transfer: GradientTransfer


@dataclass(frozen=True, eq=False)
class EMState:
    """What one step hands to the next. gamma, rho: (B, 1, 1, 1) scales; u1, u2: (B, 1, H, W), u of (27)."""

    problem: Problem
    gamma: Tensor
    rho: Tensor
    u1: Tensor
    u2: Tensor


def prepare(sources: Sequence[Tensor], swapped: bool = False) -> Problem:
    """Check two sources, (B, 1, H, W) luma in [-1, 1], and compute once what every step needs.

    The first is i and the second v, or with ``swapped`` the other way round. Raises ValueError as
    :func:`~guided_diffusion.sources.check_sources` does.
    """
    i, v = reversed(check_sources(sources)) if swapped else check_sources(sources)
    with exact(i.device):
        return Problem(i, v, i - v, gradient_transfer((i.shape[2], i.shape[3]), i.device))


def first_state(problem: Problem) -> EMState:
    """The state before the first step: gamma = rho = 1 and u = 0."""
    zeros, ones = torch.zeros_like(problem.y), torch.ones_like(problem.y[:, :, :1, :1])
    return EMState(problem, ones, ones, zeros, zeros)


def check_weights(lamb: float, rho: float, cap: float | None) -> None:
    """Raise ValueError, naming the key, for a value with which the updates are not defined."""
    if lamb < 0:
        raise ValueError(f"em.lamb is {lamb}, but must be 0 or more")
    if rho <= 0:
        raise ValueError(f"em.rho is {rho}, but must be more than 0")
    if cap is not None and cap <= 0:
        raise ValueError(f"em.cap is {cap}, but must be more than 0, or null for no bound")


def inverse_expectation(residual_squared: Tensor, scale: Tensor) -> Tensor:
    """E-step, Eq. (16): the expectation of 1/m given the residual y - x, or of 1/n given x.

    residual_squared: (B, 1, H, W), more than 0; scale: (B, 1, 1, 1), gamma or rho. Given x, 1/m is inverse Gaussian
    of mean sqrt(2 / (gamma (y - x)^2)) and shape 2 / gamma; likewise 1/n. (Eq. (16) is printed upside down.)
    """
    return (2 / scale / residual_squared).sqrt()


def cap_weight(m: Tensor, n: Tensor, cap: float | None) -> Tensor:
    """n bounded by ``cap`` times m; None: as it is. (Quirk: 2 in the released code, and no word in the paper.)"""
    return n if cap is None else torch.minimum(n, cap * m)


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
