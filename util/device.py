"""Choosing the device and the precision that a run uses."""

from __future__ import annotations

import logging

import torch

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""What ``--precision`` may name, beside auto."""

log = logging.getLogger("ddfm")


def choose_device(name: str, gpu: int | None) -> torch.device:
    """The device of ``--device`` or, if given, of ``--gpu``, which falls back to the CPU as published.

    Raises ValueError when the device does not exist here.
    """
    available = torch.cuda.is_available()
    if gpu is not None and not available:
        log.warning("--gpu %d: there is no CUDA device here, the CPU is used", gpu)
        return torch.device("cpu")
    if gpu is not None:
        name = f"cuda:{gpu}"
    elif name == "auto":
        name = "cuda" if available else "cpu"
    wrong = ValueError(f"{name} is no device: give auto, cpu, cuda or cuda:N")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise wrong from None
    if device.type not in ("cpu", "cuda"):
        raise wrong
    if device.type == "cuda" and not available:
        raise ValueError(f"{name}: torch {torch.__version__} finds no CUDA device; use --device cpu")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"{name} does not exist; CUDA devices: {torch.cuda.device_count()}")
    return device


def device_label(device: torch.device) -> str:
    """``cpu``, or the CUDA device with the name of its card."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return str(device)
