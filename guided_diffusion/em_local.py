"""A rectification that fuses: the hierarchical model of the paper with local scales. Equations: docs/local.md.

``closed_form`` solves for the levels and gradients of the sources at once (``local_fast``);
``expectation_maximisation`` goes on from there with the likelihoods of :mod:`guided_diffusion.information`
(``local``). Sources are (B, 1, H, W) luma in [-1, 1], 2 to 8 of one size, any floating type; computed with in
float32, per image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from guided_diffusion.information import Edges, Information, Structure
from guided_diffusion.local_weights import WEIGHINGS, Task, gradient_target, level_target
from guided_diffusion.neumann import gradient, gradient_adjoint, solve
from guided_diffusion.tone import local_deviation, spread

GREY = 127.5  # grey levels in a unit of luma


@dataclass(frozen=True)
class Ascent:
    """How the M-step of ``local`` climbs, Eq. (10) and (11). Set on RoadScene, every fifth pair.

    ``structure``, ``information``, ``edges``: weights of the three likelihoods. ``step``: grey levels a pixel moves
    at most. ``bound``: how many local standard deviations of the sources f may leave the closed form by.
    """

    iterations: int = 20
    structure: float = 1.4
    information: float = 1.0
    edges: float = 1.2
    step: float = 1.0
    bound: float = 1.0
    quiet: float = 2.0


def closed_form(
    sources: Sequence[Tensor],
    task: Task,
    noise: Sequence[float] | None = None,
    estimate: Tensor | None = None,
    coupling: float = 0.0,
) -> Tensor:
    """The f that minimises ||f - T||^2 + alpha ||grad f - g||^2 + rho_t ||f - f_hat||^2, Eq. (3) and (4), W = 1.

    noise: what each source still has, in units of luma (None: none). estimate: f_hat, the prior's estimate of x_0,
    (B, 1, H, W); ``coupling`` is its rho_t. Returns (B, 1, H, W) float32, not clamped.
    """
    sources = checked(sources)
    noise = [0.0] * len(sources) if noise is None else noise
    target, edges = level_target(sources, task, noise), gradient_target(sources, task, noise)
    return coupled(target, edges, WEIGHINGS[task].balance, estimate, coupling)


def coupled(
    target: Tensor,
    edges: tuple[Tensor, Tensor],
    balance: float,
    estimate: Tensor | None = None,
    coupling: float = 0.0,
) -> Tensor:
    """Eq. (4): the M-step for f, solved by a cosine transform. Solved for f - T, so that rounding scales with it."""
    along, across = gradient(target)
    right = balance * gradient_adjoint(edges[0] - along, edges[1] - across)
    if estimate is not None and coupling > 0:
        right = right + coupling * (estimate - target)
    return target + solve(right, lambda e: 1 / (1 + coupling + balance * e))


def expectation_maximisation(sources: Sequence[Tensor], start: Tensor, ascent: Ascent) -> Tensor:
    """``start`` after the EM iterations of Eq. (10): local gains in closed form, then a bounded step of f.

    Each pixel's step is scaled by the running moments of its gradient (Kingma and Ba 2015) and by how much the
    sources have to say there; Eq. (11) keeps f within ``bound`` local standard deviations of ``start``.
    """
    grey = [_grey(source) for source in checked(sources)]
    likelihoods = (
        (ascent.structure, Structure(grey)),
        (ascent.information, Information(grey)),
        (ascent.edges, Edges(grey)),
    )
    first = _grey(start)
    deviation = torch.stack([local_deviation(source) for source in grey]).amax(dim=0)
    step = ascent.step * deviation / (deviation + ascent.quiet)
    low = (first - ascent.bound * deviation).clamp(min=0)
    high = (first + ascent.bound * deviation).clamp(max=255)
    f = first.clamp(0, 255)
    mean, square = torch.zeros_like(f), torch.zeros_like(f)
    for iteration in range(1, ascent.iterations + 1):
        slope = torch.zeros_like(f)
        for weight, likelihood in likelihoods:
            slope.add_(likelihood.score(f)[1], alpha=weight)
        mean.mul_(0.9).add_(slope, alpha=0.1)
        square.mul_(0.99).addcmul_(slope, slope, value=0.01)
        scale = (square / (1 - 0.99**iteration)).sqrt() + 1e-12
        f = f + step * (mean / (1 - 0.9**iteration)) / scale
        f = torch.minimum(torch.maximum(f, low), high)
    return f / GREY - 1


def fuse_local(
    sources: Sequence[Tensor],
    task: Task,
    tone: float,
    noise: Sequence[float] | None = None,
    ascent: Ascent | None = None,
) -> Tensor:
    """The fused luma (B, 1, H, W) in about [-1, 1] without a prior: closed form, tone, and with ``ascent`` EM."""
    sources = checked(sources)
    fused = closed_form(sources, task, noise)
    deviation = torch.stack([local_deviation(_grey(source)) for source in sources]).amax(dim=0)
    fused = spread(fused, tone, deviation)
    return fused if ascent is None else expectation_maximisation(sources, fused, ascent)


def _grey(image: Tensor) -> Tensor:
    return (image + 1) * GREY


def checked(sources: Sequence[Tensor]) -> list[Tensor]:
    """The sources in float32. Raises ValueError for sources that do not fit together."""
    if not 2 <= len(sources) <= 8:
        raise ValueError(f"local fusion takes 2 to 8 sources, got {len(sources)}")
    first = sources[0]
    for source in sources:
        if (
            source.ndim != 4
            or source.shape[1] != 1
            or min(source.shape[2:]) < 2
            or source.shape != first.shape
        ):
            shapes = ", ".join(str(tuple(source.shape)) for source in sources)
            raise ValueError(
                f"the sources must all be (B, 1, H, W) with H and W at least 2, but are {shapes}"
            )
        if not source.is_floating_point():
            raise ValueError(f"expected luma in [-1, 1] of a floating type, got {source.dtype}")
        if source.device != first.device:
            raise ValueError(f"the sources lie on different devices, {first.device} and {source.device}")
    return [source.float() for source in sources]
