"""Fusion with a fixed balance phi: Eq. (8) solved by ADMM, one sweep at a time (Exps. III and IV).

    min_x  ||y - x||_1 + phi ||x||_1 + psi ||grad x||_2^2                                              Eq. (8)

The gradient is periodic, as the FFT needs. With a = x - y and b = x split off and scaled duals p, q the
augmented Lagrangian is

    ||a||_1 + phi ||b||_1 + psi ||grad x||_2^2 + r/2 ||a - x + y + p||_2^2 + r/2 ||b - x + q||_2^2

(Boyd et al., "Distributed Optimization and Statistical Learning via ADMM", 2011, section 3.1.1, with the two
blocks {a, b} and {x}).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from guided_diffusion.psf import GradientTransfer

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
