"""What can be configured: one frozen dataclass per YAML file, built with every key and type checked.

The keys of :class:`ModelConfig` and :class:`DiffusionConfig` are those of the published project, so its YAML
files work unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from guided_diffusion.typed import ConfigError, check_fields

MeanType = Literal["epsilon", "start_x", "previous_x", "v"]

MAX_STEPS = 100_000
"""Of a process; each costs eight numbers in double precision."""

MOST_BLOCKS = 64
"""Of one level."""

# Of a model, far beyond any that has been trained: what is larger is a slip, and would take all memory to lay out.
_SIZES = {
    "image_size": (1, 65536),
    "num_channels": (1, 8192),
    "num_heads": (1, 8192),
    "num_head_channels": (1, 8192),
    "num_heads_upsample": (1, 8192),
    "norm_groups": (1, 8192),
}


@dataclass(frozen=True)
class ModelConfig:
    """Architecture of the prior (``model_config_*.yaml``); the names are guided-diffusion's, but for three.

    ``channel_mult`` may be empty: then it follows from ``image_size``. ``attention_resolutions`` lists side
    lengths, at ``image_size``, of the levels that attend. ``num_head_channels`` of -1 means ``num_heads``
    decides; ``num_heads_upsample`` of -1 means the same number of heads on the way up. And of this project:
    ``num_res_blocks`` may be one number for each level, as ``channel_mult`` is, in place of one for all;
    ``norm_groups``, of every group normalisation, 32 in the published networks; ``in_channels`` of the images, 3
    (RGB) in the published networks, or 1 for grey; ``patch_size``, 1 in the published networks: patches of 2x2 or
    4x4 pixels become channels before the first layer, as in FFDNet (Zhang, Zuo and Zhang 2018) and "Simple diffusion"
    (Hoogeboom et al. 2023). Raises ValueError, naming the key, for numbers that describe no network.
    """

    image_size: int
    num_channels: int
    num_res_blocks: int | str
    channel_mult: str = ""
    learn_sigma: bool = False
    class_cond: bool = False
    use_checkpoint: bool = False
    attention_resolutions: int | str = "16"
    num_heads: int = 1
    num_head_channels: int = -1
    num_heads_upsample: int = -1
    use_scale_shift_norm: bool = False
    dropout: float = 0.0
    resblock_updown: bool = False
    use_fp16: bool = False
    use_new_attention_order: bool = False
    norm_groups: int = 32
    in_channels: int = 3
    patch_size: int = 1
    model_path: str = ""

    def __post_init__(self) -> None:
        check_fields(self)
        if self.in_channels not in (1, 3):
            raise ValueError(f"in_channels is {self.in_channels}, but must be 3 (RGB) or 1 (grey)")
        if self.patch_size not in (1, 2, 4):
            raise ValueError(f"patch_size is {self.patch_size}, but must be 1, 2 or 4")
        for key, (least, most) in _SIZES.items():
            value = getattr(self, key)
            follows = key in ("num_head_channels", "num_heads_upsample")
            if not (least <= value <= most or (follows and value == -1)):
                raise ValueError(f"{key} is {value}, but must be from {least} to {most}{', or -1' * follows}")
        levels_of_blocks(self.num_res_blocks)
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout is {self.dropout}, but must be from 0 to less than 1")


def levels_of_blocks(num_res_blocks: int | str) -> tuple[int, ...]:
    """The numbers that ``num_res_blocks`` holds. Raises ConfigError for what are none, or none of a network."""
    try:
        blocks = tuple(int(part) for part in str(num_res_blocks).split(","))
    except ValueError:
        raise ConfigError(
            f'num_res_blocks is {num_res_blocks!r:.80}, but must be a number, or one for each level as in "2,2,3,3"'
        ) from None
    if not all(1 <= number <= MOST_BLOCKS for number in blocks):
        raise ConfigError(
            f"num_res_blocks is {num_res_blocks!r:.80}, but must be from 1 to {MOST_BLOCKS} in every level"
        )
    return blocks


@dataclass(frozen=True)
class DiffusionConfig:
    """Diffusion process and sampler (``diffusion_config.yaml``); keys and names as published.

    ``sampler``: a name in :data:`guided_diffusion.samplers.SAMPLERS`. ``model_mean_type`` ``v``: Salimans and Ho,
    "Progressive Distillation" (2022). Raises ValueError, naming the key, for what cannot be.
    """

    sampler: str = "ddim"
    steps: int = 1000
    noise_schedule: Literal["linear", "cosine"] = "linear"
    model_mean_type: MeanType = "epsilon"
    model_var_type: Literal["learned", "learned_range", "fixed_small", "fixed_large"] = "learned_range"
    dynamic_threshold: bool = False
    clip_denoised: bool = True
    rescale_timesteps: bool = False
    timestep_respacing: int | str | list[int] = 100

    def __post_init__(self) -> None:
        check_fields(self)
        if not 1 <= self.steps <= MAX_STEPS:
            raise ValueError(f"steps is {self.steps}, but must be from 1 to {MAX_STEPS}")


@dataclass(frozen=True)
class RuntimeConfig:
    """How the work is done (``runtime:`` in ``fusion_config.yaml``).

    ``tile``, ``overlap``: sides of the overlapping tiles in which the prior sees large images, multiples of 32;
    ``auto`` takes tiles for what is larger than 1024x1024. ``precision``, ``compile``: of the prior, see
    :mod:`guided_diffusion.execution`. Raises ValueError, naming the key, for what cannot be.
    """

    tile: int | Literal["auto", "off"] = "auto"
    overlap: int = 128
    precision: Literal["auto", "fp32", "tf32", "bf16", "fp16"] = "auto"
    compile: bool = False

    def __post_init__(self) -> None:
        check_fields(self, "runtime.")
        if self.overlap < 0 or self.overlap % 32:
            raise ValueError(f"runtime.overlap is {self.overlap}, but must be a multiple of 32, or 0")
        if isinstance(self.tile, int) and (self.tile % 32 or self.tile <= self.overlap):
            raise ValueError(
                f"runtime.tile is {self.tile}, but must be a multiple of 32 and more than overlap ({self.overlap})"
            )

    def tile_of(self, size: tuple[int, int]) -> int | None:
        """The side of the tiles for an image of this height and width; None: it goes through whole."""
        if self.tile == "auto":
            return max(512, 2 * self.overlap) if size[0] * size[1] > 1024 * 1024 else None
        return None if self.tile == "off" or max(size) <= self.tile else self.tile
