"""What architecture a checkpoint has, read from the names and shapes of its weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from util.checkpoint.known import CheckpointError

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Architecture:
    """A UNet of guided-diffusion as far as its weights show it; the names are those of a model configuration.

    ``attention_ds``: the factors of downsampling, of the image, at which it attends, beside the middle. Heads,
    dropout, the order of attention, ``norm_groups`` and ``image_size`` leave no trace in the weights.
    """

    in_channels: int
    patch_size: int
    num_channels: int
    channel_mult: tuple[float, ...]
    num_res_blocks: int
    attention_ds: tuple[int, ...]
    learn_sigma: bool
    class_cond: bool
    use_scale_shift_norm: bool
    resblock_updown: bool

    def lines(self) -> list[str]:
        """The keys and values as they would stand in a model configuration."""
        return [f"{key}: {_text(key, value)}" for key, value in asdict(self).items()]

    def differences(self, other: Architecture, here: str, there: str) -> list[str]:
        """What is not the same, as text: ``here`` and ``there`` say whose the values are."""
        mine, theirs = asdict(self), asdict(other)
        return [
            f"{key} is {_text(key, mine[key])} {here}, {_text(key, theirs[key])} {there}"
            for key in mine
            if mine[key] != theirs[key]
        ]


def _text(key: str, value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if key == "attention_ds" and isinstance(value, tuple):
        return ", ".join([*(f"1/{factor}" for factor in value), "middle"])
    return ",".join(f"{item:g}" for item in value) if isinstance(value, tuple) else str(value)


def infer_architecture(shapes: Shapes) -> Architecture:
    """The architecture whose names and shapes these are. Raises CheckpointError if they are no such UNet's."""
    try:
        return _infer(shapes)
    except (LookupError, ValueError, ZeroDivisionError) as error:
        raise CheckpointError(
            f"these are not the weights of a UNet of guided-diffusion (missing or of another form: {error})"
        ) from error


def _infer(shapes: Shapes) -> Architecture:
    num_channels = shapes["time_embed.0.weight"][1]
    inputs = shapes["input_blocks.0.0.weight"][1]
    in_channels, patch_size = split_channels(inputs)
    outputs = _count(shapes, "output_blocks")
    # the last block of every level but the first ends with upsampling, by a convolution or a residual block
    by_conv = [i for i in range(outputs) for j in (1, 2) if f"output_blocks.{i}.{j}.conv.weight" in shapes]
    by_block = [
        i for i in range(outputs) for j in (1, 2) if f"output_blocks.{i}.{j}.in_layers.0.weight" in shapes
    ]
    levels = 1 + len(by_conv) + len(by_block)
    num_res_blocks = outputs // levels - 1
    firsts = [1 + level * (num_res_blocks + 1) for level in range(levels)]
    widths = [shapes[f"input_blocks.{first}.0.out_layers.3.weight"][0] for first in firsts]
    middle = shapes["middle_block.0.out_layers.3.weight"][0]
    return Architecture(
        in_channels=in_channels,
        patch_size=patch_size,
        num_channels=num_channels,
        channel_mult=tuple(width / num_channels for width in widths),
        num_res_blocks=num_res_blocks,
        attention_ds=tuple(
            patch_size * 2**level
            for level, first in enumerate(firsts)
            if f"input_blocks.{first}.1.qkv.weight" in shapes
        ),
        learn_sigma=shapes["out.2.weight"][0] == 2 * inputs,
        class_cond="label_emb.weight" in shapes,
        use_scale_shift_norm=shapes["middle_block.0.emb_layers.1.weight"][0] == 2 * middle,
        resblock_updown=bool(by_block),
    )


def split_channels(inputs: int) -> tuple[int, int]:
    """``in_channels`` and ``patch_size`` of a network whose first layer takes so many channels.

    One takes in_channels x patch_size^2. Raises ValueError if that is of no grey and no RGB images.
    """
    for channels in (1, 3):
        side = math.isqrt(inputs // channels)
        if channels * side**2 == inputs > 0:
            return channels, side
    raise ValueError(f"the first layer takes {inputs} channels")


def _count(shapes: Shapes, blocks: str) -> int:
    numbers = {int(key.split(".")[1]) for key in shapes if key.startswith(f"{blocks}.")}
    return len(numbers)
