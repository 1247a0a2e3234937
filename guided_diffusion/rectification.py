"""Rectifications: what pulls the estimate of a step towards the sources, and the hook that puts it into a sampler.

A new one is a frozen dataclass in a file of its own and a line in :data:`RECTIFICATIONS`; its fields become the keys
of ``em:`` in the configuration. It works in every sampler, with every prior, and alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from guided_diffusion.admm import FixedBalance
from guided_diffusion.em_paper import Paper
from guided_diffusion.em_released import Released
from guided_diffusion.gaussian_diffusion import GaussianDiffusion
from guided_diffusion.local.em import Local, LocalFast
from guided_diffusion.typed import ConfigError, Table, from_mapping
from guided_diffusion.ycbcr import full_range_luma, rgb_to_ycbcr, studio_luma_of_grey, ycbcr_to_rgb

State = TypeVar("State")


class Rectification(Protocol[State]):
    """Pulls estimates of the clean image towards the sources; holds settings alone, the state goes from step to step.

    Four attributes are optional. ``luma``: the luma of the estimate that :meth:`step` gets, ``"full"`` (the default:
    0.299 R + 0.587 G + 0.114 B in the range of the sources) or ``"studio"`` (quirk of the released code, see
    :class:`LumaHook`). ``iterations``: how many steps it takes without a prior (default: as many as the process has).
    ``stretch`` false: levels are written as they are (default: stretched to black and white, as released).
    ``most_sources``: how many it takes (default: 2).
    """

    def start(self, sources: Sequence[Tensor]) -> State:
        """The state before the first step. sources: (B, 1, H, W) luma in [-1, 1]. Raises ValueError."""
        ...

    def step(self, state: State, f: Tensor, alpha_bar: float | None = None) -> tuple[Tensor, State]:
        """The rectified luma, (B, 1, H, W) float32, and the next state, from the estimate f.

        ``alpha_bar``: alphas_cumprod of the step, from whose x_t the prior has estimated f; None: there is no prior,
        and f is what the step before returned, at first the mean of the sources.
        """
        ...


RECTIFICATIONS: Table[type[Any]] = Table(
    "rectification",
    {
        "released": Released,
        "paper": Paper,
        "fixed_balance": FixedBalance,
        "local": Local,
        "local_fast": LocalFast,
    },
)
"""By the name that ``em.variant`` chooses with."""


def as_rectification(given: Rectification[Any] | str) -> Rectification[Any]:
    """The rectification of a name in :data:`RECTIFICATIONS`, or the object itself; ValueError for anything else."""
    if isinstance(given, str):
        return RECTIFICATIONS[given]()
    if isinstance(given, type):
        raise ValueError(
            f"rectification is the class {given.__qualname__}: give an object, {given.__qualname__}()"
        )
    if not all(callable(getattr(given, method, None)) for method in ("start", "step")):
        raise ValueError(
            f"rectification is {given!r:.80}, but must be one of {', '.join(RECTIFICATIONS)}, or an object with "
            "start and step"
        )
    return given


def describe(rectification: Rectification[Any]) -> dict[str, Any]:
    """Its name and settings, for logs and images: ``{"variant": "paper", "lamb": 0.5, ...}``."""
    kind = type(rectification)
    names = [name for name, known in RECTIFICATIONS.items() if known is kind]
    settings = dataclasses.asdict(rectification) if dataclasses.is_dataclass(rectification) else {}
    return {"variant": names[0] if names else kind.__qualname__, **settings}


def is_stretched(rectification: Rectification[Any]) -> bool:
    """Whether its results are stretched to black and white when they are written: unless it says otherwise."""
    return bool(getattr(rectification, "stretch", True))


def rectification_from_mapping(data: object, source: str, prefix: str = "em.") -> Rectification[Any]:
    """The rectification of a parsed ``em:`` mapping: ``variant`` chooses, the other keys are its settings.

    As published, ``phi``, a number, fixes the balance in the roles of ``released`` or ``paper``, with which ``rho``
    and ``cap`` have no say. ``source`` is the file named in errors. Raises
    :class:`~guided_diffusion.typed.ConfigError`.
    """
    if not isinstance(data, Mapping):
        raise ConfigError(f"{source}: expected a mapping of keys at {prefix}, got {data!r:.80}")
    keys = {"variant": "released", **data}
    variant = keys.pop("variant")
    if not isinstance(variant, str) or variant not in RECTIFICATIONS:
        raise ConfigError(
            f"{source}: {prefix}variant is {variant!r}, but must be one of {', '.join(RECTIFICATIONS)}"
        )
    kind = RECTIFICATIONS[variant]
    if kind in (Released, Paper):
        phi = keys.pop("phi", None)
        checked = from_mapping(kind, keys, source, prefix)
        if phi is None:
            return checked
        keys = {"phi": phi, "lamb": checked.lamb, "tv": checked.tv, "roles": variant}
        kind = FixedBalance
    return from_mapping(kind, keys, source, prefix)


class LumaHook:
    """The hook of a sampler: rectifies the luma of every estimate, keeps its chroma and, between steps, the state.

    ``sources``: (B, 1, H, W) luma in [-1, 1], as ``rectification`` takes them. Estimates: (B, 3, H, W) RGB or, from
    a grey prior, (B, 1, H, W). ``diffusion``: the process of the sampler. Raises ValueError for sources that do not
    fit.
    """

    def __init__(
        self, rectification: Rectification[Any], sources: Sequence[Tensor], diffusion: GaussianDiffusion
    ) -> None:
        luma = getattr(rectification, "luma", "full")
        if luma not in ("full", "studio"):
            raise ValueError(
                f"the luma of {type(rectification).__name__} is {luma!r}, but must be full or studio"
            )
        self.rectification, self.diffusion, self.studio = rectification, diffusion, luma == "studio"
        self.state = rectification.start(sources)

    def __call__(self, pred_xstart: Tensor, index: int) -> Tensor:
        """The estimate at ``index`` with its luma rectified; not clamped."""
        return self._replace_luma(pred_xstart, lambda f: self.rectify(f, index))

    def rectify(self, f: Tensor, index: int | None = None) -> Tensor:
        """One step on the luma f, (B, 1, H, W); ``index`` None: without a prior."""
        alpha_bar = None if index is None else float(self.diffusion.alphas_cumprod[index])
        fused, self.state = self.rectification.step(self.state, f, alpha_bar)
        return fused

    def image_of(self, fused: Tensor, channels: int) -> Tensor:
        """The grey image (B, channels, H, W) that a step whose rectified luma is ``fused`` would hand on."""
        return self._replace_luma(fused.expand(-1, channels, -1, -1), lambda f: fused)

    def _replace_luma(self, image: Tensor, new_luma: Callable[[Tensor], Tensor]) -> Tensor:
        if not self.studio:
            f = full_range_luma(image)
            return image + (new_luma(f) - f)
        # Quirk: studio-range luma, although the sources span [-1, 1].
        if image.shape[1] == 1:
            f, back = studio_luma_of_grey(image)
            return back(new_luma(f))
        ycbcr = rgb_to_ycbcr(image) / 255
        return ycbcr_to_rgb(torch.cat([new_luma(ycbcr[:, :1]), ycbcr[:, 1:]], dim=1) * 255)
