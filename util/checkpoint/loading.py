"""Loading a prior: checked to the last key, or refused with the remedy. Never random weights."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from torch import Tensor, nn

from util.checkpoint.known import CheckpointError, PriorInfo
from util.checkpoint.origin import read_origin
from util.checkpoint.reading import CheckpointFile, open_checkpoint
from util.checkpoint.stored import StoredTensor
from util.checkpoint.unwrap import Weights, unwrap

log = logging.getLogger("ddfm")


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The weights in a checkpoint file, unwrapped, on the CPU, in the file's precision.

    A word in the log says if they had to be unwrapped. Raises CheckpointError; runs no code from the file.
    """
    with open_checkpoint(path) as file:
        weights = _unwrapped(file)
        tensors = file.tensors(list(weights.state.values()))
        return {key: tensor.clone() for key, tensor in zip(weights.state, tensors, strict=True)}


def load_prior(model: nn.Module, path: Path, config_name: str) -> PriorInfo:
    """Load a checkpoint into a model, strictly, and make it ready for inference.

    ``model`` may lie on the meta device: it takes the file's tensors, in float32, on the CPU. ``config_name``
    is the YAML file that described the model, for the message. Raises CheckpointError when keys or shapes
    differ, or a weight is not finite. The hash is that of the bytes that were read.
    """
    try:
        return _load(model, path, config_name)
    except CheckpointError as error:
        origin = read_origin(path)
        if origin is None:
            raise
        words = f"It was downloaded from {origin.url}: delete {path} to fetch it anew"
        raise CheckpointError(f"{error}. {words}") from error


def _load(model: nn.Module, path: Path, config_name: str) -> PriorInfo:
    with open_checkpoint(path) as file:
        stored = _unwrapped(file).state
        _check_fit(model, stored, path, config_name)
        state: dict[str, Tensor] = {}
        for key, value in zip(stored, file.tensors(list(stored.values())), strict=True):
            check_values(path, key, value)
            state[key] = value.to(torch.float32, copy=True)
        sha256 = file.sha256
    model.load_state_dict(state, strict=True, assign=True)
    model.eval().requires_grad_(False)
    parameters = sum(value.numel() for value in state.values())
    return PriorInfo(file=path.name, sha256=sha256, parameters=parameters)


def _unwrapped(file: CheckpointFile) -> Weights:
    weights = unwrap(file.content, str(file.path))
    if weights.words:
        log.info(f"{file.path.name}: {weights.words}")
    return weights


def check_values(path: Path, key: str, value: Tensor) -> None:
    """Raise CheckpointError, naming file and weight, for numbers that no network can be run with."""
    if not value.is_floating_point():
        raise CheckpointError(
            f"{path}: {key} is {value.dtype}; quantised weights cannot be used, get those in float32 or float16"
        )
    if not torch.isfinite(value.float()).all():  # as it will be used
        raise CheckpointError(f"{path}: {key} holds NaN or infinite weights; get a whole copy")


def _check_fit(model: nn.Module, state: dict[str, StoredTensor], path: Path, config_name: str) -> None:
    """Raise CheckpointError with the first difference between the model's keys and shapes and the file's."""
    expected = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    given = {key: tuple(value.shape) for key, value in state.items()}
    if expected == given:
        return
    missing = [key for key in expected if key not in given]
    unexpected = [key for key in given if key not in expected]
    differing = [key for key in expected if key in given and expected[key] != given[key]]
    if differing:
        key = differing[0]
        detail = f"{key} is {given[key]} in the file and {expected[key]} in the configuration"
    elif missing:
        detail = f"the file lacks {missing[0]}"
    else:
        detail = f"the configuration has no {unexpected[0]}"
    raise CheckpointError(
        f"{path} is no checkpoint of the model in {config_name}: {len(missing)} keys missing, "
        f"{len(unexpected)} too many, {len(differing)} of another shape ({detail}). "
        f"Give the --model_config that belongs to this file, or correct its model_path "
        f"(python -m util.checkpoint verify {path} tells which)"
    )
