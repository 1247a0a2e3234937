"""The UNet of guided-diffusion (Dhariwal & Nichol 2021, "Diffusion Models Beat GANs"), state-dict compatible.

Module names and the order in which modules are registered follow the published model, so that its
checkpoints load with ``strict=True``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from guided_diffusion.fp16_util import convert_convolutions
from guided_diffusion.nn import GroupNorm32, timestep_embedding, zero_module
from guided_diffusion.subpixel import fold_upsampling, upsample_conv


@dataclass(frozen=True)
class UNetParams:
    """Everything that decides the shape of a :class:`UNetModel`.

    ``attention_ds`` holds the downsampling factors of the levels that attend; ``channel_mult`` the width of
    each level as a multiple of ``model_channels``. ``num_classes`` None means unconditional. ``norm_groups`` is the
    number of groups of every normalisation. ``patch_size``: side of the patches of pixels that become channels
    before the first layer, and pixels again after the last: the first level is that much coarser than the image.
    """

    in_channels: int
    model_channels: int
    out_channels: int
    num_res_blocks: tuple[int, ...]  # of every level, the finest first
    channel_mult: tuple[float, ...]
    attention_ds: tuple[int, ...] = ()
    dropout: float = 0.0
    num_classes: int | None = None
    use_checkpoint: bool = False
    num_heads: int = 1
    num_head_channels: int = -1
    num_heads_upsample: int = -1
    use_scale_shift_norm: bool = False
    resblock_updown: bool = False
    use_new_attention_order: bool = False
    norm_groups: int = 32
    patch_size: int = 1


class TimestepEmbedSequential(nn.Sequential):
    """A sequence that hands the embedding to those of its layers that take one."""

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        for layer in self:
            x = layer(x, emb) if isinstance(layer, ResBlock) else layer(x)
        return x


class Upsample(nn.Module):
    """Nearest-neighbour upsampling by 2, followed by a 3x3 convolution if ``use_conv``."""

    def __init__(self, channels: int, use_conv: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1) if use_conv else None
        self.phases: Tensor | None
        self.register_buffer("phases", None, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.conv is not None and self.phases is not None:
            return upsample_conv(x, self.phases, self.conv.bias)
        x = F.interpolate(x, scale_factor=2, mode="nearest")  # (B, C, H, W) -> (B, C, 2H, 2W)
        return x if self.conv is None else self.conv(x)


class Downsample(nn.Module):
    """Downsampling by 2: a strided 3x3 convolution if ``use_conv``, else the mean of 2x2 pixels."""

    def __init__(self, channels: int, use_conv: bool) -> None:
        super().__init__()
        self.op = nn.Conv2d(channels, channels, 3, stride=2, padding=1) if use_conv else nn.AvgPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        return self.op(x)  # (B, C, H, W) -> (B, C, H/2, W/2)


class ResBlock(nn.Module):
    """Residual block: norm, SiLU, 3x3 convolution, twice, with the embedding entering between the two.

    ``up`` and ``down`` resample inside both branches. With ``scale_shift`` the embedding scales and shifts the
    second normalisation; otherwise it is added before it.
    """

    def __init__(
        self, channels: int, out_channels: int, params: UNetParams, up: bool = False, down: bool = False
    ) -> None:
        super().__init__()
        self.use_checkpoint = params.use_checkpoint
        self.scale_shift = params.use_scale_shift_norm
        emb_channels = embedding_channels(params)
        self.in_layers = nn.Sequential(
            GroupNorm32(channels, params.norm_groups),
            nn.SiLU(inplace=True),
            nn.Conv2d(channels, out_channels, 3, padding=1),
        )
        self.phases: Tensor | None
        self.register_buffer("phases", None, persistent=False)
        self.resample: nn.Module | None = None
        if up:
            self.resample = Upsample(channels, use_conv=False)
        elif down:
            self.resample = Downsample(channels, use_conv=False)
        self.emb_layers = nn.Sequential(
            nn.SiLU(), nn.Linear(emb_channels, 2 * out_channels if self.scale_shift else out_channels)
        )
        self.out_layers = nn.Sequential(
            GroupNorm32(out_channels, params.norm_groups),
            nn.SiLU(inplace=True),
            nn.Dropout(p=params.dropout),
            zero_module(nn.Conv2d(out_channels, out_channels, 3, padding=1)),
        )
        same = out_channels == channels
        self.skip_connection = nn.Identity() if same else nn.Conv2d(channels, out_channels, 1)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        """x: (B, C, H, W), emb: (B, E) -> (B, C_out, H', W')."""
        if self.use_checkpoint and torch.is_grad_enabled():
            return checkpoint(self._forward, x, emb, use_reentrant=False)  # pyright: ignore[reportReturnType]
        return self._forward(x, emb)

    def _forward(self, x: Tensor, emb: Tensor) -> Tensor:
        norm, activation, conv = self.in_layers
        h = activation(norm(x))
        if self.resample is None:
            h = conv(h)
        elif self.phases is None:
            h, x = conv(self.resample(h)), self.resample(x)
        else:
            assert isinstance(conv, nn.Conv2d)
            h, x = upsample_conv(h, self.phases, conv.bias), self.resample(x)
        emb_out = self.emb_layers(emb)[:, :, None, None].to(h.dtype)
        norm, *rest = self.out_layers
        if self.scale_shift:
            scale, shift = emb_out.chunk(2, dim=1)
            h = norm(h).mul_(1 + scale).add_(shift)  # in place: these layers wait for memory
        else:
            h = norm(h + emb_out)
        for layer in rest:
            h = layer(h)
        return self.skip_connection(x) + h


class AttentionBlock(nn.Module):
    """Self-attention over all positions, with a residual connection.

    The two attention orders differ only in how the ``qkv`` channels are laid out: legacy keeps q, k and v of
    one head together, the new order keeps all heads of q together, then k, then v.
    """

    def __init__(self, channels: int, num_heads: int, params: UNetParams) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.new_order = params.use_new_attention_order
        self.use_checkpoint = params.use_checkpoint
        self.norm = GroupNorm32(channels, params.norm_groups)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.proj_out = zero_module(nn.Conv1d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        if self.use_checkpoint and torch.is_grad_enabled():
            return checkpoint(self._forward, x, use_reentrant=False)  # pyright: ignore[reportReturnType]
        return self._forward(x)

    def _forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        heads, tokens = self.num_heads, height * width
        # The 1x1 convolutions run as linear layers with channels last, which is what
        # scaled_dot_product_attention needs to avoid the (T, T) matrix: channels of a head side by side.
        h = self.norm(x).flatten(2).transpose(1, 2)  # (B, C, H, W) -> (B, T, C)
        qkv = F.linear(h, self.qkv.weight[:, :, 0], self.qkv.bias)  # (B, T, 3C)
        if self.new_order:
            q, k, v = qkv.view(batch, tokens, 3, heads, -1).permute(2, 0, 3, 1, 4)
        else:
            q, k, v = qkv.view(batch, tokens, heads, 3, -1).permute(3, 0, 2, 1, 4)
        h = F.scaled_dot_product_attention(q, k, v)  # (B, heads, T, C/heads)
        h = F.linear(h.transpose(1, 2).flatten(2), self.proj_out.weight[:, :, 0], self.proj_out.bias)
        return x + h.transpose(1, 2).reshape(batch, channels, height, width)


def embedding_channels(params: UNetParams) -> int:
    """Width of the time (and class) embedding."""
    return 4 * params.model_channels


class UNetModel(nn.Module):
    """UNet with time embedding, optional class embedding, and attention at chosen resolutions.

    ``forward(x, timesteps, y)``: x (B, in_channels, H, W), timesteps (B,) original (not respaced) timesteps,
    y (B,) class labels if and only if the model is class-conditional; returns (B, out_channels, H, W) in the
    type of x. H and W must be multiples of :attr:`size_multiple`.
    """

    def __init__(self, params: UNetParams) -> None:
        super().__init__()
        self.params = params
        self.dtype = torch.float32
        emb = embedding_channels(params)
        self.time_embed = nn.Sequential(nn.Linear(params.model_channels, emb), nn.SiLU(), nn.Linear(emb, emb))
        if params.num_classes is not None:
            self.label_emb = nn.Embedding(params.num_classes, emb)

        widths = [int(mult * params.model_channels) for mult in params.channel_mult]
        if min(widths) < 1:
            raise ValueError(f"a level of {min(widths)} channels")
        self.input_blocks, skips = _input_blocks(params, widths)
        self.middle_block = TimestepEmbedSequential(
            ResBlock(widths[-1], widths[-1], params),
            _attention(widths[-1], params, params.num_heads),
            ResBlock(widths[-1], widths[-1], params),
        )
        self.output_blocks = _output_blocks(params, widths, skips)
        self.out = nn.Sequential(
            GroupNorm32(widths[0], params.norm_groups),
            nn.SiLU(inplace=True),
            zero_module(nn.Conv2d(widths[0], params.out_channels * params.patch_size**2, 3, padding=1)),
        )

    @property
    def size_multiple(self) -> int:
        """Height and width of the input must be multiples of this."""
        return self.params.patch_size * 2 ** (len(self.params.channel_mult) - 1)

    def fold_upsampling(self) -> None:
        """Do upsampling and the convolution after it in one, see :mod:`guided_diffusion.subpixel`; for inference.

        The weights must have been loaded; call it before :meth:`convert_body`, so that sums are of float32 weights.
        Convolutions that are something else by now (:mod:`guided_diffusion.winograd`) stay what they are.
        """
        for module in self.modules():
            if isinstance(module, Upsample):
                conv = module.conv
            elif isinstance(module, ResBlock) and isinstance(module.resample, Upsample):
                conv = module.in_layers[-1]
            else:
                continue
            if isinstance(conv, nn.Conv2d):
                module.phases = fold_upsampling(conv.weight)

    def convert_body(self, dtype: torch.dtype) -> None:
        """Run the convolutions between the embedding and the output layer in ``dtype`` (e.g. float16)."""
        for blocks in (self.input_blocks, self.middle_block, self.output_blocks):
            convert_convolutions(blocks, dtype)
            for module in blocks.modules():
                if isinstance(module, Upsample | ResBlock) and module.phases is not None:
                    module.phases = module.phases.to(dtype)
        self.dtype = dtype

    def forward(self, x: Tensor, timesteps: Tensor, y: Tensor | None = None) -> Tensor:
        if (y is None) != (self.params.num_classes is None):
            expected = "no class labels" if self.params.num_classes is None else "class labels y"
            raise ValueError(f"this model takes {expected}")
        multiple = self.size_multiple
        if x.shape[-2] % multiple or x.shape[-1] % multiple:
            raise ValueError(
                f"the model takes sizes that are multiples of {multiple}, got {tuple(x.shape[-2:])}"
            )
        emb = self.time_embed(timestep_embedding(timesteps, self.params.model_channels))  # (B, E)
        if y is not None:
            emb = emb + self.label_emb(y)

        patch = self.params.patch_size
        h = x if patch == 1 else F.pixel_unshuffle(x, patch)  # (B, C, H, W) -> (B, C P^2, H/P, W/P)
        h = h.to(self.dtype)
        skips: list[Tensor] = []
        for block in self.input_blocks:
            h = block(h, emb)
            skips.append(h)
        h = self.middle_block(h, emb)
        for block in self.output_blocks:
            h = block(torch.cat([h, skips.pop()], dim=1), emb)
        h = self.out(h.to(x.dtype))
        return h if patch == 1 else F.pixel_shuffle(h, patch)


def _attention(channels: int, params: UNetParams, num_heads: int) -> AttentionBlock:
    if params.num_head_channels == -1:
        heads, divisor = num_heads, num_heads
    else:
        heads, divisor = channels // params.num_head_channels, params.num_head_channels
    if channels % divisor:
        raise ValueError(f"{channels} channels cannot be split into attention heads by {divisor}")
    return AttentionBlock(channels, heads, params)


def _input_blocks(params: UNetParams, widths: Sequence[int]) -> tuple[nn.ModuleList, list[int]]:
    """The way down, and the channels of each of its outputs, which the way up takes back in reverse."""
    channels = widths[0]
    inputs = params.in_channels * params.patch_size**2
    blocks = nn.ModuleList([TimestepEmbedSequential(nn.Conv2d(inputs, channels, 3, padding=1))])
    skips = [channels]
    for level, width in enumerate(widths):
        for _ in range(params.num_res_blocks[level]):
            layers: list[nn.Module] = [ResBlock(channels, width, params)]
            channels = width
            if params.patch_size * 2**level in params.attention_ds:
                layers.append(_attention(channels, params, params.num_heads))
            blocks.append(TimestepEmbedSequential(*layers))
            skips.append(channels)
        if level < len(widths) - 1:
            down = (
                ResBlock(channels, channels, params, down=True)
                if params.resblock_updown
                else Downsample(channels, use_conv=True)
            )
            blocks.append(TimestepEmbedSequential(down))
            skips.append(channels)
    return blocks, skips


def _output_blocks(params: UNetParams, widths: Sequence[int], skips: list[int]) -> nn.ModuleList:
    heads = params.num_heads if params.num_heads_upsample == -1 else params.num_heads_upsample
    channels = widths[-1]
    remaining = list(skips)
    blocks = nn.ModuleList()
    for level, width in reversed(list(enumerate(widths))):
        for index in range(params.num_res_blocks[level] + 1):
            layers: list[nn.Module] = [ResBlock(channels + remaining.pop(), width, params)]
            channels = width
            if params.patch_size * 2**level in params.attention_ds:
                layers.append(_attention(channels, params, heads))
            if level > 0 and index == params.num_res_blocks[level]:
                layers.append(
                    ResBlock(channels, channels, params, up=True)
                    if params.resblock_updown
                    else Upsample(channels, use_conv=True)
                )
            blocks.append(TimestepEmbedSequential(*layers))
    return blocks
