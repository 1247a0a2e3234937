"""The device that a run uses, and what it is good at."""

from __future__ import annotations

import logging
from pathlib import Path

import torch

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


def check_precision(precision: str, device: torch.device) -> None:
    """Warn of a precision that this CPU has no instructions for: it works, but slower than float32.

    Raises ValueError for ``tf32`` on a CPU, which has no such thing.
    """
    if device.type != "cpu":
        return
    if precision == "tf32":
        raise ValueError("precision tf32 is a mode of CUDA devices; on the CPU give fp32")
    flags = {"bf16": {"avx512_bf16", "amx_bf16", "bf16"}, "fp16": {"avx512_fp16", "amx_fp16", "asimdhp"}}
    if precision in flags and not flags[precision] & cpu_flags():
        log.warning(
            f"precision {precision}: this processor has no instructions for it, fp32 would be many times as fast"
        )


def cpu_flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """What the processor says that it can do, in Linux's words; empty where that is not known."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return frozenset()
    return frozenset(
        word
        for line in lines
        for name, _, words in [line.partition(":")]
        if name.strip() in ("flags", "Features")  # x86, ARM
        for word in words.split()
    )
