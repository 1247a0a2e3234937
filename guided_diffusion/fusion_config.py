"""How pairs are fused: the dataclass behind ``fusion_config.yaml``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from guided_diffusion.config import RuntimeConfig
from guided_diffusion.em_released import Released
from guided_diffusion.rectification import Rectification, rectification_from_mapping
from guided_diffusion.typed import check_fields


@dataclass(frozen=True)
class FusionConfig:
    """How one pair is fused (``fusion_config.yaml``). Raises ValueError for a seed or eta out of range.

    ``em``: the rectification. ``prior`` false: EM alone (Exp. I). ``fit``: sizes are cropped, or padded and cut back.
    ``color``: the source that gives the result its colour; ``color_method``: how, at constant OKLab hue inside the
    gamut or by plain YCbCr substitution. ``eta``: noise added by ddim, as a share of what ddpm adds. ``warm_start``:
    begin at the timestep nearest below it, from EM alone with noise added, instead of from noise. ``ir_range``,
    ``vi_range``: the two values of images of more than 8 bits that become black and white (None: percentiles of
    each image; ``sequence``: one range for all images of a folder). ``noise``: of the sources, taken off before
    fusion, see :mod:`guided_diffusion.denoise`; ``prior`` of ``noise`` asks the prior for nothing else.
    ``runtime``: how the work is done.
    """

    em: Rectification[Any] = field(
        default_factory=Released, metadata={"from_mapping": rectification_from_mapping}
    )
    prior: bool | Literal["noise"] = True
    seed: int = 3407
    fit: Literal["crop", "pad"] = "crop"
    color: Literal["auto", "vi", "ir", "off"] = "auto"
    color_method: Literal["oklab", "ycbcr"] = "oklab"
    eta: float = 0.0
    warm_start: int | None = None
    ir_range: list[float] | Literal["sequence"] | None = None
    vi_range: list[float] | Literal["sequence"] | None = None
    noise: Literal["auto", "off"] | list[float] = "off"
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)

    def __post_init__(self) -> None:
        check_fields(self)
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed is {self.seed}, but must be from 0 to 2^63 - 1")
        if not 0.0 <= self.eta <= 1.0:
            raise ValueError(f"eta is {self.eta}, but must be from 0 (no noise) to 1 (as much as ddpm)")
        if self.warm_start is not None and self.warm_start < 1:
            raise ValueError(
                f"warm_start is {self.warm_start}, but must be a timestep of at least 1, or null"
            )
        if isinstance(self.noise, list) and not all(0 <= sigma <= 255 for sigma in self.noise):
            raise ValueError(f"noise is {self.noise}, but must hold grey levels from 0 (clean) to 255")
        if self.prior == "noise" and self.noise == "off":
            raise ValueError("prior is noise, but noise is off: choose noise: auto, or prior: true or false")
        for key in ("ir_range", "vi_range"):
            values = getattr(self, key)
            if isinstance(values, list) and not (len(values) == 2 and values[0] < values[1]):
                raise ValueError(
                    f"{key} is {values}, but must be [low, high] with low < high, sequence, or null"
                )
