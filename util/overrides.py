"""Single settings changed in configurations that have been read: what ``--steps``, ``--variant`` and others do."""

from __future__ import annotations

import dataclasses
import logging
from typing import Any, Literal

from guided_diffusion.admm import FixedBalance
from guided_diffusion.config import DiffusionConfig
from guided_diffusion.fusion_config import FusionConfig
from guided_diffusion.rectification import RECTIFICATIONS, Rectification, describe, rectification_from_mapping
from guided_diffusion.respace import space_timesteps
from guided_diffusion.typed import ConfigError

Noise = Literal["auto", "off"] | list[float]

log = logging.getLogger("ddfm")


def override(
    fusion: FusionConfig,
    diffusion: DiffusionConfig,
    *,
    variant: str | None = None,
    steps: int | None = None,
    tone: float | None = None,
    noise: Noise | None = None,
    **fields: Any,
) -> tuple[FusionConfig, DiffusionConfig]:
    """The two configurations with every setting that is not None changed.

    ``variant``: the name of another rectification; settings that are not those it would have anyway are kept.
    ``steps``: that a pair takes, evaluations of the prior or, where it does not fuse, iterations. ``tone``: of a
    rectification that has one. ``noise``: ``off`` asks the prior nothing about noise; anything else does, also where
    there was no prior. ``fields``: of :class:`FusionConfig`, by their names. Raises ValueError for a value out of
    range, and for a setting that the rectification does not have.
    """
    fields = {name: value for name, value in fields.items() if value is not None}
    if variant is not None:
        fields["em"] = with_variant(fusion.em, variant)
    if noise is not None:
        fields["noise"] = noise
        if noise == "off" and fusion.prior == "noise":
            fields["prior"] = False
        elif noise != "off" and fusion.prior is False:
            log.info("noise: the prior is asked about the noise of the sources, and nothing else")
            fields["prior"] = "noise"
    fusion = dataclasses.replace(fusion, **fields)
    if tone is not None:
        fusion = dataclasses.replace(fusion, em=_with_field(fusion.em, "tone", tone))
    return with_steps(fusion, diffusion, steps) if steps is not None else (fusion, diffusion)


def with_variant(em: Rectification[Any], variant: str) -> Rectification[Any]:
    """The rectification of that name, with the settings of ``em`` that were changed from their defaults.

    Raises ValueError when there is none of that name, or it does not have one of these settings.
    """
    kind = RECTIFICATIONS[variant]
    if type(em) is kind:
        return em
    changed: dict[str, Any] = {}
    for item in dataclasses.fields(type(em)) if dataclasses.is_dataclass(em) else ():
        value = getattr(em, item.name)
        if item.default is dataclasses.MISSING or value != item.default:
            changed[item.name] = value
    if isinstance(em, FixedBalance) and variant in ("released", "paper"):
        changed.pop("roles", None)  # which the name says
    try:
        return rectification_from_mapping({"variant": variant, **changed}, f"variant {variant}")
    except ConfigError as error:
        raise ValueError(f"{error} (em.variant was {describe(em)['variant']})") from error


def with_steps(
    fusion: FusionConfig, diffusion: DiffusionConfig, steps: int
) -> tuple[FusionConfig, DiffusionConfig]:
    """So that a pair takes this many steps, whatever takes them: the sampler from its start, or the rectification.

    With a warm start these are the steps from there on; a spacing that gives them already stays, else it is the even
    one whose first timestep is nearest to the warm start. Raises ValueError for a number that cannot be.
    """
    if fusion.prior is not True and hasattr(fusion.em, "iterations"):
        if steps < 1:
            raise ValueError(f"steps is {steps}, but must be 1 or more")
        return dataclasses.replace(fusion, em=_with_field(fusion.em, "steps", steps)), diffusion
    sampled, trained = fusion.prior is True, diffusion.steps
    start = fusion.warm_start if sampled and fusion.warm_start is not None else trained - 1
    # one step would be timestep 0 alone, whose network takes noise for an image
    least, most = 1 + sampled, min(trained, start + 1)
    if not least <= steps <= most:
        raise ValueError(
            f"steps is {steps}, but must be from {least} to {most}"
            + (f", as many as there are to the warm start at timestep {start}" if start < trained - 1 else "")
        )
    if start == trained - 1:
        return fusion, dataclasses.replace(diffusion, timestep_respacing=steps)
    spacings: list[int | str | list[int]] = [
        diffusion.timestep_respacing
    ]  # this if it does, so that it stays
    about = round((steps - 1) * (trained - 1) / start) + 1
    spacings += sorted(
        range(max(2, about - 2), min(trained, about + 2) + 1), key=lambda count: abs(count - about)
    )
    for spacing in spacings:
        kept = [timestep for timestep in space_timesteps(trained, spacing) if timestep <= start]
        if len(kept) == steps:
            return fusion, dataclasses.replace(diffusion, timestep_respacing=spacing)
    raise ValueError(f"steps is {steps}, but no even spacing has so many timesteps up to {start}")


def _with_field(em: Rectification[Any], name: str, value: Any) -> Rectification[Any]:
    if name in _fields(type(em)):
        return dataclasses.replace(em, **{name: value})  # pyright: ignore[reportArgumentType]
    having = ", ".join(variant for variant, kind in RECTIFICATIONS.items() if _takes(kind, name))
    raise ValueError(f"{describe(em)['variant']} has no {name}; the variants that have: {having}")


def _takes(kind: type[Any], name: str) -> bool:
    """Whether a rectification has this setting; one that does not say how many steps it takes has those asked for."""
    return name in _fields(kind) or (name == "steps" and not hasattr(kind, "iterations"))


def _fields(kind: type[Any]) -> set[str]:
    return {item.name for item in dataclasses.fields(kind)} if dataclasses.is_dataclass(kind) else set()
