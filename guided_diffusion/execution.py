"""How the prior is run: the fastest form of a network that says what the network says.

In float32 that is the same sums in another order. The halves keep normalisation, the embedding of the timestep and
the output in float32 (see :mod:`guided_diffusion.fp16_util`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from guided_diffusion.gaussian_diffusion import Model
from guided_diffusion.nn import channels_last
from guided_diffusion.unet import UNetModel
from guided_diffusion.winograd import WinogradConv2d, use_winograd

Precision = Literal["fp32", "tf32", "bf16", "fp16"]

DTYPES: dict[Precision, torch.dtype] = {
    "fp32": torch.float32,
    "tf32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}
"""Of the convolutions' weights. ``tf32``: float32, multiplied with 10 bits of mantissa by CUDA devices."""

MAX_SIZES = 64
"""Sizes of input that are compiled; what goes beyond runs as it is."""

log = logging.getLogger("ddfm")


@dataclass(frozen=True)
class Execution:
    """What a run asks of its network: where, with which numbers, and whether through ``torch.compile``.

    ``roomy``: there is memory to spend on speed.
    """

    device: torch.device
    precision: Precision = "fp32"
    compile: bool = False
    roomy: bool = True

    @property
    def winograd(self) -> bool:
        """Whether wide convolutions take fewer products: float32 on a CPU; all strips would be nodes of a graph."""
        return self.device.type == "cpu" and self.precision == "fp32" and self.roomy and not self.compile

    def describe(self, model: UNetModel) -> str:
        """What was chosen for ``model``, which is :func:`ready`, for the log."""
        numbers = "tf32" if self.precision == "tf32" else str(DTYPES[self.precision]).removeprefix("torch.")
        parts = [numbers, "channels_last", "SDPA", "folded upsampling", *["compiled"] * self.compile]
        count = sum(isinstance(module, WinogradConv2d) for module in model.modules())
        parts += [f"{count} Winograd convolutions"] * bool(count)
        return f"{self.device.type}: {', '.join(parts)}"


def choose_precision(asked: str, use_fp16: bool, device: torch.device) -> Precision:
    """The precision that ``auto`` or a name means for a model whose YAML says ``use_fp16`` or not.

    ``auto`` is fp32, but fp16 on CUDA for a model that says so. Raises ValueError for an unknown name.
    """
    if asked == "auto":
        return "fp16" if use_fp16 and device.type == "cuda" else "fp32"
    for name in DTYPES:
        if asked == name:
            return name
    raise ValueError(f"{asked} is no precision: give auto, {', '.join(DTYPES)}")


def ready(model: UNetModel, execution: Execution) -> UNetModel:
    """``model``, whose weights have been loaded, made ready in place and moved to the device; for inference only.

    Also switches TF32 on or off for the whole process: fp32 means float32, in convolutions and in products.
    """
    model.eval().requires_grad_(False)
    if execution.winograd:
        use_winograd(model)  # after upsampling too: as fast as folded, without a second set of kernels
    model.fold_upsampling()  # before the halves, so that the sums are of float32 weights
    model.convert_body(DTYPES[execution.precision])
    torch.backends.cudnn.allow_tf32 = execution.precision == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = execution.precision == "tf32"
    return channels_last(model.to(execution.device))


def can_compile(device: torch.device) -> bool:
    """Whether ``torch.compile`` works here, found by compiling a sum; warns if not, saying why."""
    try:
        torch.compile(lambda x: x.sin() + 1, dynamic=False)(torch.zeros(8, device=device))
    except (
        Exception
    ) as error:  # no compiler, no Triton, a Python that is not supported: each has its own type
        _warn(error)
        return False
    return True


class CompiledModel:
    """A network compiled for each size of its input when that is first seen, with CUDA graphs on CUDA.

    Where compiling fails after all, it says so once and runs the network as it is.
    """

    def __init__(self, model: UNetModel) -> None:
        self.model: Model = model
        self.on_cuda = next(model.parameters()).device.type == "cuda"
        mode = "reduce-overhead" if self.on_cuda else "default"
        import torch._dynamo  # takes a second, which runs without it need not wait

        limits: Any = torch._dynamo.config
        limits.cache_size_limit = max(limits.cache_size_limit, MAX_SIZES)
        self.compiled: Callable[[Tensor, Tensor], Tensor] | None = torch.compile(
            model, dynamic=False, mode=mode
        )

    def __call__(self, x_t: Tensor, timesteps: Tensor) -> Tensor:
        """As :class:`~guided_diffusion.unet.UNetModel`."""
        if self.compiled is None:
            return self.model(x_t, timesteps)
        try:
            if self.on_cuda:
                torch.compiler.cudagraph_mark_step_begin()
            out = self.compiled(x_t.contiguous(), timesteps)  # another layout would be another graph
            return out.clone() if self.on_cuda else out  # the graph writes its next output to the same place
        except (torch.cuda.OutOfMemoryError, MemoryError):
            raise  # smaller batches are the answer to that
        except Exception as error:
            out = self.model(x_t, timesteps)  # what is wrong with the input is said here
            _warn(error)
            self.compiled = None
            return out


def _warn(error: Exception) -> None:
    lines = [line for line in str(error).splitlines() if line.strip()] or [""]
    log.warning(f"torch.compile fails here, running without it ({type(error).__name__}: {lines[0][:200]})")
