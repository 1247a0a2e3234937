"""Noise schedules, and the choice of the timesteps that a sampler visits. NumPy float64 throughout.

:class:`Schedule` holds what follows from the betas. A prior is trained with many steps (1000) and sampled
with fewer: a subset of its timesteps is kept, and the betas are recomputed so that ``alphas_cumprod`` at the
kept timesteps stays what it was (Nichol and Dhariwal, "Improved Denoising Diffusion Probabilistic Models",
2021, section 4).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

_SPEC_FORMS = '"" (all steps), a number, numbers per section such as "10,15,20", or "ddimN"'


@dataclass(frozen=True, eq=False)
class Schedule:
    """A respaced process of N steps: read-only arrays of shape (N,), float64 but for the map.

    ``timestep_map[index]`` is the timestep that the network was trained with. The ``posterior_`` quantities
    are those of q(x_{t-1} | x_t, x_0), Ho et al. 2020, Eqs. (6) and (7), with mean ``coef1 x_0 + coef2 x_t``;
    the clipped log variance has the value of index 1 at index 0 too, where the variance is 0.
    ``fixed_large_log_variance`` is log beta, with that same value at index 0.
    """

    betas: FloatArray
    timestep_map: NDArray[np.int64]

    alphas_cumprod: FloatArray = field(init=False, repr=False)
    alphas_cumprod_prev: FloatArray = field(init=False, repr=False)
    posterior_variance: FloatArray = field(init=False, repr=False)
    posterior_log_variance_clipped: FloatArray = field(init=False, repr=False)
    posterior_mean_coef1: FloatArray = field(init=False, repr=False)
    posterior_mean_coef2: FloatArray = field(init=False, repr=False)
    fixed_large_log_variance: FloatArray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        betas = np.array(self.betas, dtype=np.float64)
        alphas_cumprod = np.cumprod(1.0 - betas)
        alphas_cumprod_prev = np.concatenate([[1.0], alphas_cumprod[:-1]])
        remaining, remaining_prev = 1.0 - alphas_cumprod, 1.0 - alphas_cumprod_prev
        variance = betas * remaining_prev / remaining
        first = variance[1] if len(betas) > 1 else betas[0]
        derived = {
            "betas": betas,
            "timestep_map": np.array(self.timestep_map, dtype=np.int64),
            "alphas_cumprod": alphas_cumprod,
            "alphas_cumprod_prev": alphas_cumprod_prev,
            "posterior_variance": variance,
            "posterior_log_variance_clipped": np.log(np.concatenate([[first], variance[1:]])),
            "posterior_mean_coef1": betas * np.sqrt(alphas_cumprod_prev) / remaining,
            "posterior_mean_coef2": np.sqrt(1.0 - betas) * remaining_prev / remaining,
            "fixed_large_log_variance": np.log(np.concatenate([[first], betas[1:]])),
        }
        for name, values in derived.items():
            values.setflags(write=False)
            object.__setattr__(self, name, values)

    @property
    def num_timesteps(self) -> int:
        """N, the number of steps."""
        return len(self.betas)

    def nearest_index(self, ratio: float) -> int:
        """The index whose states have noise nearest to ``ratio`` times what there is of x_0; ``ratio`` above 0."""
        ratios = np.sqrt(1 / self.alphas_cumprod - 1)
        return int(np.abs(np.log(ratios / ratio)).argmin())


def named_betas(schedule: str, steps: int) -> FloatArray:
    """Variances of the forward process, (steps,), each in (0, 1).

    ``linear``: 1e-4 to 0.02 at 1000 steps (Ho et al. 2020), scaled by 1000 / steps otherwise.
    ``cosine``: Nichol and Dhariwal 2021, Eq. (17), with s = 0.008 and betas of at most 0.999.
    Raises ValueError for another name, and for a number of steps that the schedule cannot have.
    """
    if steps < 1:
        raise ValueError(f"steps is {steps}, but a diffusion has at least 1")
    if schedule == "linear":
        return linear_betas(steps)
    if schedule == "cosine":
        return cosine_betas(steps)
    raise ValueError(f"noise_schedule is {schedule!r}, but must be one of linear, cosine")


def linear_betas(steps: int) -> FloatArray:
    """See :func:`named_betas`."""
    scale = 1000 / steps
    if scale * 0.02 >= 1:
        raise ValueError(f"a linear noise_schedule needs more than 20 steps, but steps is {steps}")
    return np.linspace(scale * 1e-4, scale * 0.02, steps, dtype=np.float64)


def cosine_betas(steps: int) -> FloatArray:
    """See :func:`named_betas`."""
    time = np.arange(steps + 1, dtype=np.float64) / steps
    alphas_cumprod = np.cos((time + 0.008) / 1.008 * np.pi / 2) ** 2
    return np.minimum(1 - alphas_cumprod[1:] / alphas_cumprod[:-1], 0.999)


def space_timesteps(num_timesteps: int, section_counts: int | str | Sequence[int]) -> list[int]:
    """Timesteps to keep, out of ``0 ... num_timesteps - 1``, in ascending order and without repetition.

    ``section_counts`` is one of:

    - a number n: n timesteps spread evenly, the first and the last included;
    - numbers as a list or in a string such as ``"10,15,20"``: the process is cut into that many sections of
      equal length (the first ones longer by one where it does not divide) and each is treated like that;
    - ``"ddimN"``: 0, s, 2s, ... with the integer stride s that gives exactly N timesteps (Song et al. 2021);
    - ``""``: all.

    Raises ValueError, saying what is allowed, for anything else and for counts that do not fit.
    """
    if isinstance(section_counts, str):
        spec = section_counts.strip()
        if not spec:
            return list(range(num_timesteps))
        if spec.startswith("ddim"):
            return _strided(num_timesteps, _count(spec.removeprefix("ddim"), section_counts))
        counts = [_count(part, section_counts) for part in spec.split(",")]
    elif isinstance(section_counts, int):
        counts = [_count(section_counts, section_counts)]
    else:
        counts = [_count(part, section_counts) for part in section_counts]
    if not counts:
        raise ValueError(f"timestep_respacing is {section_counts!r}, but must be {_SPEC_FORMS}")

    length, longer = divmod(num_timesteps, len(counts))
    kept: list[int] = []
    start = 0
    for section, count in enumerate(counts):
        size = length + (section < longer)
        if count > size:
            raise ValueError(
                f"timestep_respacing {section_counts!r} asks for {count} timesteps of section {section + 1}, "
                f"but of {num_timesteps} steps in {len(counts)} section(s) it has 1 to {size}"
            )
        kept += _evenly(start, size, count)
        start += size
    return kept


def respaced_betas(betas: FloatArray, kept: Sequence[int]) -> FloatArray:
    """Betas, (len(kept),), of the process that visits only the timesteps ``kept`` (ascending, unique).

    Each is 1 - alphas_cumprod[t] / alphas_cumprod[t before], over neighbours among the kept timesteps.
    Raises ValueError when ``kept`` is empty, out of order or out of range.
    """
    order = [-1, *kept, len(betas)]
    if not kept or any(a >= b for a, b in pairwise(order)):
        raise ValueError(f"kept timesteps must ascend within 0 ... {len(betas) - 1}, got {list(kept)}")
    alphas_cumprod = np.cumprod(1.0 - betas)[list(kept)]
    return 1.0 - alphas_cumprod / np.concatenate([[1.0], alphas_cumprod[:-1]])


def _count(part: int | str, spec: object) -> int:
    """One number of the specification ``spec``, which is named in errors."""
    try:
        count = int(part) if isinstance(part, str | int) and not isinstance(part, bool) else 0
    except ValueError:
        raise ValueError(f"timestep_respacing is {spec!r}, but must be {_SPEC_FORMS}") from None
    if count < 1:
        raise ValueError(f"timestep_respacing is {spec!r}, but its numbers must be positive integers")
    return count


def _evenly(start: int, size: int, count: int) -> list[int]:
    stride = (size - 1) / (count - 1) if count > 1 else 1.0
    kept = []
    offset = 0.0
    for _ in range(count):
        kept.append(start + round(offset))
        offset += stride  # summed, not multiplied: published runs break ties at .5 by this rounding error
    return kept


def _strided(num_timesteps: int, count: int) -> list[int]:
    stride = math.ceil(num_timesteps / count)  # the smallest that gives at most `count`
    kept = list(range(0, num_timesteps, stride))
    if len(kept) != count:
        below = len(kept)
        above = len(range(0, num_timesteps, stride - 1)) if stride > 1 else None
        nearest = f"ddim{below}" + (f" and ddim{above}" if above else "")
        raise ValueError(
            f"timestep_respacing is 'ddim{count}', but no integer stride gives {count} of {num_timesteps} "
            f"timesteps; the nearest that exist: {nearest}"
        )
    return kept
