"""The rectification as the paper derives it: Algorithm 1 with Eq. (16) put right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from guided_diffusion.em import (
    GUARD,
    EMState,
    cap_weight,
    check_weights,
    first_state,
    inverse_expectation,
    k_update,
    prepare,
    scale_update,
    u_update,
    x_update,
)
from guided_diffusion.psf import periodic_gradient
from guided_diffusion.sources import check_estimate, exact
from guided_diffusion.typed import check_fields


@dataclass(frozen=True)
class Paper:
    """Algorithm 1 of Zhao et al. (ICCV 2023); sources: i, the infrared image, and v, the visible one.

    ``lamb`` and ``rho``: the paper's psi and eta, 0.5 and 0.1 by its text. ``cap``: the weight of v is at most so
    many times that of i (None, as in the paper: no bound). ``tv`` false drops the total variation term (Exp. II).
    Raises ValueError, naming the key, for a value with which the updates are not defined.
    """

    lamb: float = 0.5
    rho: float = 0.1
    cap: float | None = 2.0
    tv: bool = True

    def __post_init__(self) -> None:
        check_fields(self, "em.")
        check_weights(self.lamb, self.rho, self.cap)

    def start(self, sources: Sequence[Tensor]) -> EMState:
        """The state before the first step. sources: i and v, (B, 1, H, W) luma in [-1, 1]. Raises ValueError."""
        return first_state(prepare(sources))

    def expectations(self, y: Tensor, x: Tensor, state: EMState) -> tuple[Tensor, Tensor]:
        """E-step, (16): E[1/m] and E[1/n] given x, both (B, 1, H, W)."""
        m = inverse_expectation((y - x).square() + GUARD, state.gamma)
        return m, inverse_expectation(x.square() + GUARD, state.rho)

    def step(self, state: EMState, f: Tensor, alpha_bar: float | None = None) -> tuple[Tensor, EMState]:
        """One iteration on the luma f, (B, 1, H, W): E-step and M-step. Arguments are left as they are."""
        problem = state.problem
        f = check_estimate(f, problem.y)
        with exact(f.device):
            y, x = problem.y, f - problem.v
            m, n = self.expectations(y, x, state)
            # M-step: scales, (31); the cap bounds the weight of v in the x-update only
            gamma, rho = scale_update(m, state.gamma), scale_update(n, state.rho)
            n = cap_weight(m, n, self.cap)
            k, u1, u2 = None, state.u1, state.u2
            if self.tv:
                k = k_update(problem.transfer, x, u1, u2)  # (25)
                u1, u2 = u_update(periodic_gradient(k), self.lamb, self.rho)  # (27)
            x = x_update(y, m, n, k, self.rho)  # (29)
            return problem.v + x, EMState(problem, gamma, rho, u1, u2)  # (30)
