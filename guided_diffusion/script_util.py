"""From the keys of ``model_config_*.yaml`` to a model."""

from __future__ import annotations

import dataclasses

import torch

from guided_diffusion.config import ModelConfig, levels_of_blocks
from guided_diffusion.typed import ConfigError
from guided_diffusion.unet import UNetModel, UNetParams

NUM_CLASSES = 1000
MOST_LEVELS, MOST_WIDENING = 16, 64  # far beyond any network that has been trained

DEFAULT_CHANNEL_MULT: dict[int, tuple[float, ...]] = {
    512: (0.5, 1, 1, 2, 2, 4, 4),
    256: (1, 1, 2, 2, 4, 4),
    128: (1, 1, 2, 3, 4),
    64: (1, 2, 3, 4),
}


def create_model(
    image_size: int,
    num_channels: int,
    num_res_blocks: int | str,
    channel_mult: str = "",
    learn_sigma: bool = False,
    class_cond: bool = False,
    use_checkpoint: bool = False,
    attention_resolutions: int | str = "16",
    num_heads: int = 1,
    num_head_channels: int = -1,
    num_heads_upsample: int = -1,
    use_scale_shift_norm: bool = False,
    dropout: float = 0.0,
    resblock_updown: bool = False,
    use_fp16: bool = False,
    use_new_attention_order: bool = False,
    norm_groups: int = 32,
    in_channels: int = 3,
    patch_size: int = 1,
) -> UNetModel:
    """A UNet with fresh weights from the keys of a model configuration other than ``model_path``.

    The images have ``in_channels`` (3: RGB, 1: grey); ``learn_sigma`` doubles the output channels. ``use_fp16`` turns
    the body to float16 (do so after loading float32 weights, or load into it: both give the same). Raises
    :class:`~guided_diffusion.typed.ConfigError` where the values do not describe a network.
    """
    factors = _channel_mult(channel_mult, image_size)
    params = UNetParams(
        in_channels=in_channels,
        model_channels=num_channels,
        out_channels=2 * in_channels if learn_sigma else in_channels,
        num_res_blocks=_res_blocks(num_res_blocks, len(factors)),
        channel_mult=factors,
        attention_ds=_attention_ds(attention_resolutions, image_size),
        dropout=dropout,
        num_classes=NUM_CLASSES if class_cond else None,
        use_checkpoint=use_checkpoint,
        num_heads=num_heads,
        num_head_channels=num_head_channels,
        num_heads_upsample=num_heads_upsample,
        use_scale_shift_norm=use_scale_shift_norm,
        resblock_updown=resblock_updown,
        use_new_attention_order=use_new_attention_order,
        norm_groups=norm_groups,
        patch_size=patch_size,
    )
    try:
        model = UNetModel(params)
    except ValueError as error:
        raise ConfigError(f"this model configuration describes no network: {error}") from error
    if use_fp16:
        model.convert_body(torch.float16)
    return model


def model_from_config(config: ModelConfig) -> UNetModel:
    """:func:`create_model` from the dataclass; the weights are fresh and belong to no checkpoint."""
    keys = dataclasses.asdict(config)
    del keys["model_path"]
    return create_model(**keys)


def empty_model(config: ModelConfig) -> UNetModel:
    """The float32 network of a configuration on the meta device: without any weights until some are loaded.

    Load with ``load_state_dict(state, assign=True)``; ``use_fp16`` is left to the caller, for after that.
    """
    with torch.device("meta"):
        return model_from_config(dataclasses.replace(config, use_fp16=False))


def _channel_mult(text: str, image_size: int) -> tuple[float, ...]:
    if not text:
        if image_size not in DEFAULT_CHANNEL_MULT:
            sizes = ", ".join(map(str, DEFAULT_CHANNEL_MULT))
            raise ConfigError(f"channel_mult must be given: there is a default only for image_size {sizes}")
        return DEFAULT_CHANNEL_MULT[image_size]
    try:
        factors = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f'channel_mult is {text!r}, but must be numbers like "1,2,2,4"') from None
    if len(factors) > MOST_LEVELS or not all(0 < factor <= MOST_WIDENING for factor in factors):
        raise ConfigError(
            f"channel_mult is {text!r}, but must be at most {MOST_LEVELS} numbers above 0 and up to {MOST_WIDENING}"
        )
    return factors


def _res_blocks(value: int | str, levels: int) -> tuple[int, ...]:
    blocks = levels_of_blocks(value)
    if len(blocks) not in (1, levels):
        raise ConfigError(
            f"num_res_blocks is {value!r:.80}, but there are {levels} levels: give one number, or {levels}"
        )
    return blocks if len(blocks) == levels else blocks * levels


def _attention_ds(text: int | str, image_size: int) -> tuple[int, ...]:
    try:
        resolutions = [int(part) for part in str(text).split(",") if part.strip()]
    except ValueError:
        raise ConfigError(f'attention_resolutions is {text!r}, but must be sides like "32,16,8"') from None
    if any(resolution <= 0 for resolution in resolutions):
        raise ConfigError(f"attention_resolutions is {text!r}, but the sides must be positive")
    return tuple(image_size // resolution for resolution in resolutions)
