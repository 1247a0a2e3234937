"""Fusion with a fixed balance phi: Eq. (8) solved by ADMM, one sweep at a time (Exps. III and IV).

    min_x  ||y - x||_1 + phi ||x||_1 + psi ||grad x||_2^2                                              Eq. (8)

The gradient is periodic, as the FFT needs. With a = x - y and b = x split off and scaled duals p, q the
augmented Lagrangian is

    ||a||_1 + phi ||b||_1 + psi ||grad x||_2^2 + r/2 ||a - x + y + p||_2^2 + r/2 ||b - x + q||_2^2

(Boyd et al., "Distributed Optimization and Statistical Learning via ADMM", 2011, section 3.1.1, with the two
blocks {a, b} and {x}).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from guided_diffusion.em import Problem, prepare
from guided_diffusion.psf import GradientTransfer
from guided_diffusion.sources import check_estimate, exact
from guided_diffusion.typed import check_fields

PENALTY = 3.0
"""r. It changes the path, not the optimum. A sweep moves a pixel by about 1/r, so a large r takes long to
cross the range [-2, 2] of y; a small one overshoots. With phi from 0.5 to 2, 50 sweeps from the average of a
street scene came within a thousandth of the least objective with 3, but neither with 1 nor with 10."""


@dataclass(frozen=True, eq=False)
class ADMMState:
    """Scaled duals of a = x - y and of b = x, each (B, 1, H, W)."""

    p: Tensor
    q: Tensor


def soft_threshold(z: Tensor, threshold: float) -> Tensor:
    """Proximal operator of ``threshold * ||.||_1``: every element moved towards 0 by ``threshold``."""
    return z - z.clamp(-threshold, threshold)


def admm_sweep(
    y: Tensor, transfer: GradientTransfer, phi: float, psi: float, x: Tensor, state: ADMMState
) -> tuple[Tensor, ADMMState]:
    """One sweep from the primal iterate ``x``: a and b, then x, then the duals. ``psi`` may be 0.

    y, x: (B, 1, H, W) float32. Returns the new x and the new duals. Fed back to itself it is plain ADMM,
    which converges to a minimiser of Eq. (8) from any start.
    """
    a = soft_threshold(x - y - state.p, 1 / PENALTY)
    b = soft_threshold(x - state.q, phi / PENALTY)
    # Zero gradient in x: (2 r + 2 psi |K|^2) x = r ((a + y + p) + (b + q)), diagonal under the FFT.
    target = (a + y + state.p + b + state.q) / 2
    x = target
    if psi > 0:
        spectrum = torch.fft.rfft2(target) / (1 + psi / PENALTY * transfer.power)
        x = torch.fft.irfft2(spectrum, s=y.shape[-2:])
    return x, ADMMState(state.p + a - x + y, state.q + b - x)


@dataclass(frozen=True, eq=False)
class BalanceState:
    """What one step hands to the next."""

    problem: Problem
    duals: ADMMState


@dataclass(frozen=True)
class FixedBalance:
    """A rectification without latents: one sweep of ADMM on Eq. (8); sources: the infrared image and the visible one.

    ``phi``: the balance of the two sources. ``lamb``: the paper's psi; ``tv`` false drops that term. ``roles``: which
    source is i, how x is read out (paper: x = f - v, released: x = i - f) and which luma f is; feeding the result
    back is plain ADMM with both, and as the roles are swapped too, both minimise the same function of f. Raises
    ValueError, naming the key.
    """

    phi: float
    lamb: float = 0.5
    tv: bool = True
    roles: Literal["released", "paper"] = "paper"

    def __post_init__(self) -> None:
        check_fields(self, "em.")
        if self.phi < 0:
            raise ValueError(f"em.phi is {self.phi}, but must be 0 or more, or null to infer the balance")
        if self.lamb < 0:
            raise ValueError(f"em.lamb is {self.lamb}, but must be 0 or more")

    @property
    def luma(self) -> str:
        """Which luma f is, see :class:`~guided_diffusion.rectification.LumaHook`."""
        return "studio" if self.roles == "released" else "full"

    def start(self, sources: Sequence[Tensor]) -> BalanceState:
        """Duals of 0. sources: infrared, visible, (B, 1, H, W) luma in [-1, 1]. Raises ValueError."""
        problem = prepare(sources, swapped=self.roles == "released")
        zeros = torch.zeros_like(problem.y)
        return BalanceState(problem, ADMMState(zeros, zeros))

    def step(
        self, state: BalanceState, f: Tensor, alpha_bar: float | None = None
    ) -> tuple[Tensor, BalanceState]:
        """One sweep from the x of f, (B, 1, H, W). Arguments are left as they are."""
        problem = state.problem
        f = check_estimate(f, problem.y)
        with exact(f.device):
            x = problem.i - f if self.roles == "released" else f - problem.v
            psi = self.lamb if self.tv else 0.0
            x, duals = admm_sweep(problem.y, problem.transfer, self.phi, psi, x, state.duals)
            f = problem.i - x if self.roles == "released" else problem.v + x
            return f, BalanceState(problem, duals)
