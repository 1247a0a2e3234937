"""How pairs are fused: the dataclass behind ``fusion_config.yaml``."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

from guided_diffusion.config import RuntimeConfig
from guided_diffusion.em_released import Released
from guided_diffusion.rectification import Rectification, describe, rectification_from_mapping
from guided_diffusion.typed import check_fields

Range = list[float] | Literal["sequence"] | None


@dataclass(frozen=True)
class FusionConfig:
    """How one pair is fused (``fusion_config.yaml``). Raises ValueError for a seed or eta out of range.

    ``em``: the rectification. ``prior`` false: EM alone (Exp. I). ``fit``: sizes are cropped, or padded and cut back.
    ``color``: the source that gives the result its colour; ``color_method``: how, at constant OKLab hue inside the
    gamut or by plain YCbCr substitution. ``eta``: noise added by ddim, as a share of what ddpm adds. ``warm_start``:
    begin at the timestep nearest below it, from EM alone with noise added, instead of from noise. ``ir_range``,
    ``vi_range``: the two values of images of more than 8 bits that become black and white (None: percentiles of
    each image; ``sequence``: one range for all images of a folder); ``ranges``: the same, one for each of any number
    of sources. ``noise``: of the sources, taken off before fusion, see :mod:`guided_diffusion.denoising.sources`;
    ``prior`` of ``noise`` asks the prior for nothing else. ``samples``: how many are drawn for a mean and a spread,
    see :mod:`guided_diffusion.samples`. ``register``: how the others are brought onto the last source. ``runtime``:
    how the work is done.
    """

    em: Rectification[Any] = field(
        default_factory=Released, metadata={"from_mapping": rectification_from_mapping}
    )
    prior: bool | Literal["noise"] = True
    seed: int = 3407
    fit: Literal["crop", "pad"] = "crop"
    color: Literal["auto", "vi", "ir", "off"] | int = "auto"
    color_method: Literal["oklab", "ycbcr"] = "oklab"
    eta: float = 0.0
    warm_start: int | None = None
    ir_range: Range = None
    vi_range: Range = None
    ranges: list[Range] | None = None
    noise: Literal["auto", "off"] | list[float] = "off"
    samples: int = 1
    register: Literal["off", "translation", "affine", "auto"] = "off"
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
        if self.samples < 1:
            raise ValueError(f"samples is {self.samples}, but must be at least 1")
        if not isinstance(self.color, str) and self.color < 1:
            raise ValueError(f"color is {self.color}, but sources are counted from 1")
        if self.ranges is not None and (self.ir_range or self.vi_range):
            raise ValueError("ranges has one for each source: leave ir_range and vi_range at null")
        for key in ("ir_range", "vi_range", "ranges"):
            for values in (self.ranges or []) if key == "ranges" else [getattr(self, key)]:
                if isinstance(values, list) and not (len(values) == 2 and values[0] < values[1]):
                    raise ValueError(
                        f"{key} is {values}, but must be [low, high] with low < high, sequence, or null"
                    )

    def describe(self) -> dict[str, Any]:
        """Every setting by name, for logs and images; without those that came later, where they change nothing."""
        usual = {"samples": 1, "ranges": None, "register": "off"}
        said = dataclasses.asdict(self)
        for name in [name for name, value in usual.items() if said[name] == value]:
            del said[name]
        return said | {"em": describe(self.em)}

    def source_ranges(self, count: int) -> list[Range]:
        """What is said of the range of each of ``count`` sources. Raises ValueError where they are not as many."""
        if self.ranges is None and count != 2 and (self.ir_range or self.vi_range):
            raise ValueError(f"ir_range and vi_range are of two sources, but there are {count}: give ranges")
        found: list[Range] = [self.ir_range, self.vi_range, *[None] * (count - 2)]
        if self.ranges is not None:
            found = list(self.ranges)
        if len(found) != count:
            raise ValueError(f"ranges has {len(found)}, but there are {count} sources")
        return found

    def with_ranges(self, ranges: list[Range]) -> FusionConfig:
        """The same with these of the sources, said as before: two by their names, or as a list."""
        if self.ranges is not None or len(ranges) != 2:
            return dataclasses.replace(self, ranges=ranges if any(ranges) else None)
        return dataclasses.replace(self, ir_range=ranges[0], vi_range=ranges[1])

    def check_count(self, count: int) -> None:
        """Raise ValueError for what does not fit ``count`` sources."""
        self.source_ranges(count)
        most = getattr(self.em, "most_sources", 2)
        if count > most:
            raise ValueError(
                f"there are {count} sources, but em.variant {describe(self.em)['variant']} takes {most}: choose "
                "local or local_fast, which take up to 8"
            )
        if not isinstance(self.noise, str) and len(self.noise) != count:
            raise ValueError(
                f"noise has {len(self.noise)} standard deviations, but there are {count} sources: give one for each"
            )
        if self.color in ("ir", "vi") and count != 2:
            raise ValueError(
                f"color is {self.color}, but there are {count} sources: give auto, off or a number"
            )
        if not isinstance(self.color, str) and self.color > count:
            raise ValueError(f"color is {self.color}, but there are {count} sources")
