"""A rectification that fuses: the hierarchical model of the paper with local scales. Equations: docs/local.md.

:class:`LocalFast` solves for the levels and gradients of the sources at once; :class:`Local` goes on from there with
the iterations of :mod:`guided_diffusion.local.ascent`. Both take 2 to 8 sources, work in float32 and per image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from guided_diffusion.denoising.source_noise import GREY, estimate_sigma
from guided_diffusion.local.ascent import Ascent, deviation_of, envelope
from guided_diffusion.local.tone import spread
from guided_diffusion.local.weights import WEIGHINGS, Task, detect_task, gradient_target, level_target
from guided_diffusion.neumann import gradient, gradient_adjoint, solve
from guided_diffusion.sources import check_estimate, check_sources, exact
from guided_diffusion.typed import check_fields

LEVEL_WEIGHT = 8.0  # W of Eq. (3) beside the prior's rho_t


@dataclass(frozen=True, eq=False)
class LocalState:
    """What goes from step to step. ``fused``: the luma without a prior so far, (B, 1, H, W).

    ``balance``: alpha / W of each image, (B, 1, 1, 1); ``climbs``: whether its task has iterations, likewise.
    ``noise``: what each source still has, (B, 1, 1, 1) in units of luma; ``deviation``: their largest local standard
    deviation in grey levels, (B, 1, H, W). ``ascent``: what the iterations need (None: there are none).
    """

    fused: Tensor
    balance: Tensor
    climbs: Tensor
    noise: tuple[Tensor, ...]
    deviation: Tensor
    ascent: Ascent | None = None


@dataclass(frozen=True)
class LocalFast:
    """The closed form (4) of levels and gradients chosen locally, kept within the sources, (5), then spread, (13).

    ``task``: how levels are weighed, ``auto`` by what each image shows. ``tone``, 0 to 1: how strongly levels are
    spread over the range (None: 0.25 for infrared and visible pairs, else 0). ``coupling``: lambda of rho_t, how much
    the prior's estimates count. Noise that the sources still have is estimated, and known to the weights. Raises
    ValueError for a value out of range.
    """

    most_sources: ClassVar[int] = 8
    task: Task | Literal["auto"] = "auto"
    tone: float | None = None
    coupling: float = 0.3

    def __post_init__(self) -> None:
        check_fields(self, "em.")
        if self.tone is not None and not 0 <= self.tone <= 1:
            raise ValueError(f"em.tone is {self.tone}, but must be from 0 (levels as they are) to 1, or null")
        if not 0 <= self.coupling < math.inf:
            raise ValueError(f"em.coupling is {self.coupling}, but must be 0 or more, and finite")

    @property
    def iterations(self) -> int:
        """Steps without a prior: the closed form needs one."""
        return 1

    @property
    def stretch(self) -> bool:
        """Levels are meant as they are: results are not stretched to the full range."""
        return False

    def start(self, sources: Sequence[Tensor]) -> LocalState:
        """The closed form of the sources, (B, 1, H, W) luma in [-1, 1], 2 to 8. Raises ValueError."""
        sources = check_sources(sources, 2, 8)
        with exact(sources[0].device), torch.no_grad():
            noise = tuple(estimate_sigma(source) / GREY for source in sources)
            deviation = deviation_of(sources, noise)
            low, high = envelope(sources, noise, deviation)
            tasks: list[Task] = [
                detect_task([source[row : row + 1] for source in sources])[0]
                if self.task == "auto"
                else self.task
                for row in range(len(sources[0]))
            ]
            rows = torch.cat(
                [
                    closed_form([s[row : row + 1] for s in sources], task, [n[row : row + 1] for n in noise])
                    for row, task in enumerate(tasks)
                ]
            )
            rows = torch.minimum(torch.maximum(rows, low), high).split(1)
            tones = [WEIGHINGS[task].tone if self.tone is None else self.tone for task in tasks]
            activity = deviation.split(1)
            fused = torch.cat([spread(*each) for each in zip(rows, tones, activity, strict=True)])
            balance = fused.new_tensor([WEIGHINGS[task].balance for task in tasks]).view(-1, 1, 1, 1)
            climbs = torch.tensor([WEIGHINGS[task].climbs for task in tasks], device=fused.device)
            return LocalState(fused, balance, climbs.view(-1, 1, 1, 1), noise, deviation)

    def step(self, state: LocalState, f: Tensor, alpha_bar: float | None = None) -> tuple[Tensor, LocalState]:
        """The fused luma: without a prior that of the sources, with one Eq. (4) of it and the estimate f."""
        f = check_estimate(f, state.fused)
        with exact(f.device):
            if alpha_bar is None:
                return state.fused, state
            rho = self.coupling * alpha_bar / max(1 - alpha_bar, 1e-12) / LEVEL_WEIGHT
            if math.isinf(rho) or rho == 0:
                return state.fused, state
            edges = gradient(state.fused)
            # a batch may hold images of several tasks, each with a balance of its own
            rows = [
                coupled(target, (along, across), balance, own, rho)
                for target, along, across, balance, own in zip(
                    state.fused.split(1),
                    edges[0].split(1),
                    edges[1].split(1),
                    state.balance.split(1),
                    f.split(1),
                    strict=True,
                )
            ]
            return torch.cat(rows), state


@dataclass(frozen=True)
class Local(LocalFast):
    """:class:`LocalFast`, and from there ``steps`` iterations of EM on what f tells of its sources, Eq. (11).

    Multi-focus images have none: they would bring back what is out of focus. ``steps``: 0 or more. Without a prior
    each step is one of them; with one all come before the first estimate.
    """

    steps: int = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps < 0:
            raise ValueError(f"em.steps is {self.steps}, but must be 0 or more")

    @property
    def iterations(self) -> int:
        """Steps without a prior."""
        return max(1, self.steps)

    def start(self, sources: Sequence[Tensor]) -> LocalState:
        """As :meth:`LocalFast.start`, and ready for the iterations."""
        state = super().start(sources)
        if self.steps == 0 or not state.climbs.any():
            return state
        sources = check_sources(sources, 2, 8)
        with exact(sources[0].device):
            return replace(state, ascent=Ascent.at(sources, state.fused, state.noise, state.deviation))

    def step(self, state: LocalState, f: Tensor, alpha_bar: float | None = None) -> tuple[Tensor, LocalState]:
        """As :meth:`LocalFast.step`, one iteration further or, with a prior, after all of them."""
        with exact(state.fused.device), torch.no_grad():
            while state.ascent is not None and state.ascent.done < self.steps:
                ascent = state.ascent.advance()
                fused = torch.where(state.climbs, ascent.f / GREY - 1, state.fused)
                state = replace(state, fused=fused, ascent=ascent)
                if alpha_bar is None:
                    break
        return super().step(state, f, alpha_bar)


def closed_form(
    sources: Sequence[Tensor],
    task: Task,
    noise: Sequence[Tensor] | None = None,
    estimate: Tensor | None = None,
    coupling: float = 0.0,
) -> Tensor:
    """The f that minimises ||f - T||^2 + alpha ||grad f - g||^2 + rho_t ||f - f_hat||^2, Eq. (3) and (4), W = 1.

    noise: what each source still has, (B, 1, 1, 1) in units of luma (None: none). estimate: f_hat, the prior's
    estimate of x_0, (B, 1, H, W); ``coupling`` is its rho_t. Returns (B, 1, H, W) float32, not clamped.
    """
    sources = check_sources(sources, 2, 8)
    noise = [torch.zeros_like(source[:, :, :1, :1]) for source in sources] if noise is None else noise
    target = level_target(sources, task, noise)
    edges = gradient_target(sources, task, noise, target)
    return coupled(target, edges, WEIGHINGS[task].balance, estimate, coupling)


def coupled(
    target: Tensor,
    edges: tuple[Tensor, Tensor],
    balance: float | Tensor,
    estimate: Tensor | None = None,
    coupling: float = 0.0,
) -> Tensor:
    """Eq. (4): the M-step for f, solved by a cosine transform. Solved for f - T, so that rounding scales with it."""
    along, across = gradient(target)
    right = balance * gradient_adjoint(edges[0] - along, edges[1] - across)
    if estimate is not None and coupling > 0:
        right = right + coupling * (estimate - target)
    return target + solve(right, lambda e: 1 / (1 + coupling + balance * e))
