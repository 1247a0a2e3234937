"""What architecture a checkpoint has, read from the names and shapes of its weights."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

from util.checkpoint.known import CheckpointError

Shapes = Mapping[str, tuple[int, ...]]
OUTPUT_BLOCK = re.compile(r"output_blocks\.(\d+)\.")
UP_CONV = re.compile(r"output_blocks\.(\d+)\.[12]\.conv\.weight")
UP_BLOCK = re.compile(r"output_blocks\.(\d+)\.[12]\.in_layers\.0\.weight")


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
    num_res_blocks: int | tuple[int, ...]
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
    blocks = blocks_of_levels(shapes)
    firsts = [1 + sum(blocks[:level]) + level for level in range(len(blocks))]
    widths = [shapes[f"input_blocks.{first}.0.out_layers.3.weight"][0] for first in firsts]
    middle = shapes["middle_block.0.out_layers.3.weight"][0]
    return Architecture(
        in_channels=in_channels,
        patch_size=patch_size,
        num_channels=num_channels,
        channel_mult=tuple(width / num_channels for width in widths),
        num_res_blocks=blocks[0] if len(set(blocks)) == 1 else blocks,
        attention_ds=tuple(
            patch_size * 2**level
            for level, first in enumerate(firsts)
            if f"input_blocks.{first}.1.qkv.weight" in shapes
        ),
        learn_sigma=shapes["out.2.weight"][0] == 2 * inputs,
        class_cond="label_emb.weight" in shapes,
        use_scale_shift_norm=shapes["middle_block.0.emb_layers.1.weight"][0] == 2 * middle,
        resblock_updown=any(UP_BLOCK.fullmatch(key) for key in shapes),
    )


def blocks_of_levels(keys: Iterable[str]) -> tuple[int, ...]:
    """``num_res_blocks`` of every level, the finest first, from the names of a UNet's weights.

    The last block of every level but the first ends with upsampling, by a convolution or a residual block. Raises
    ValueError where there are no such levels.
    """
    outputs, ends = set[int](), set[int]()
    for key in keys:
        if match := OUTPUT_BLOCK.match(key):
            outputs.add(int(match[1]))
        if match := UP_CONV.fullmatch(key) or UP_BLOCK.fullmatch(key):
            ends.add(int(match[1]))
    last = [-1, *sorted(ends), len(outputs) - 1]
    blocks = tuple(end - before - 1 for before, end in itertools.pairwise(last))[::-1]
    if min(blocks) < 1:
        raise ValueError("output_blocks form no levels")
    return blocks


def split_channels(inputs: int) -> tuple[int, int]:
    """``in_channels`` and ``patch_size`` of a network whose first layer takes so many channels.

    One takes in_channels x patch_size^2. Raises ValueError if that is of no grey and no RGB images.
    """
    for channels in (1, 3):
        side = math.isqrt(inputs // channels)
        if channels * side**2 == inputs > 0:
            return channels, side
    raise ValueError(f"the first layer takes {inputs} channels")
