"""The rectification that the published code computes; its quirks are named where they differ from the paper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

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
from guided_diffusion.psf import released_gradient
from guided_diffusion.sources import check_estimate, exact
from guided_diffusion.typed import check_fields


@dataclass(frozen=True)
class Released:
    """What the released implementation does; sources: the infrared image and the visible one.

    Beside :class:`~guided_diffusion.em_paper.Paper`, whose options these are, it binds i to the *visible* image and
    v to the infrared one, returns i - x where the derivation gives v + x, solves for k and u in y - x instead of x,
    caps the weight of v before the scales see it, has another eta and other gradients
    (:func:`~guided_diffusion.psf.released_gradient`), and takes studio-range luma. Its names for m, n, gamma, rho,
    k, u are C, D, tau_a, tau_b, H and F1, F2. Raises ValueError, naming the key.
    """

    luma: ClassVar = "studio"

    lamb: float = 0.5
    rho: float = 0.001
    cap: float | None = 2.0
    tv: bool = True

    def __post_init__(self) -> None:
        check_fields(self, "em.")
        check_weights(self.lamb, self.rho, self.cap)

    def start(self, sources: Sequence[Tensor]) -> EMState:
        """The state before the first step; sources: infrared and visible, (B, 1, H, W) luma in [-1, 1].

        Raises ValueError for sources that do not fit. Quirk: the released script reads the visible file into the
        variable called infrared and vice versa.
        """
        return first_state(prepare(sources, swapped=True))

    def expectations(self, y: Tensor, x: Tensor, state: EMState) -> tuple[Tensor, Tensor]:
        """E-step, (16): C and D before the cap, both (B, 1, H, W).

        Quirk: the guard is added to y - x before the square. The clamp is ours: at y - x = -1e-6 the released code
        divides by 0. It reaches no further than 1e-8.
        """
        residual_squared = (y - x + GUARD).square().clamp(min=1e-16)
        m = inverse_expectation(residual_squared, state.gamma)
        return m, inverse_expectation(x.square() + GUARD, state.rho)

    def step(self, state: EMState, f: Tensor, alpha_bar: float | None = None) -> tuple[Tensor, EMState]:
        """One iteration on the luma f, (B, 1, H, W). Arguments are left as they are."""
        problem = state.problem
        f = check_estimate(f, problem.y)
        with exact(f.device):
            y, x = problem.y, f - problem.v
            m, n = self.expectations(y, x, state)
            n = cap_weight(
                m, n, self.cap
            )  # quirk: before the scales, so that rho (tau_b) sees the capped weight
            gamma, rho = scale_update(m, state.gamma), scale_update(n, state.rho)
            k, u1, u2 = None, state.u1, state.u2
            if self.tv:
                h = k_update(problem.transfer, y - x, u1, u2)  # quirk: splits off y - x, not x
                u1, u2 = u_update(released_gradient(h), self.lamb, self.rho)
                k = y - h
            x = x_update(y, m, n, k, self.rho)
            return problem.i - x, EMState(problem, gamma, rho, u1, u2)  # quirk: the derivation gives v + x
