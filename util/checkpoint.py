"""Loading a prior: checked to the last key, or refused with the remedy. Never random weights."""

from __future__ import annotations

import hashlib
import pickle
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

OFFICIAL_NAME = "256x256_diffusion_uncond.pt"
OFFICIAL_URL = f"https://openaipublic.blob.core.windows.net/diffusion/jul-2021/{OFFICIAL_NAME}"
OFFICIAL_BYTES = 2_211_383_297
OFFICIAL_SHA256 = "a37c32fffd316cd494cf3f35b339936debdc1576dad13fe57c42399a5dbc78b1"

_REMEDY = (
    f"The official prior (2.2 GB) is at {OFFICIAL_URL} and belongs into models/; "
    "the compact one of this repository is used with --model_config configs/model_config_compact.yaml"
)


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message names the file and says what to do."""


@dataclass(frozen=True)
class PriorInfo:
    """Which prior made an image. ``official`` only if the file has the hash of the published one."""

    file: str
    sha256: str
    parameters: int

    @property
    def official(self) -> bool:
        return self.sha256 == OFFICIAL_SHA256


def file_sha256(path: Path) -> str:
    """Hex digest of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while piece := stream.read(1 << 22):
            digest.update(piece)
    return digest.hexdigest()


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint file, on the CPU. Raises CheckpointError; runs no code from the file."""
    if not path.is_file():
        raise CheckpointError(f"the checkpoint {path} does not exist. {_REMEDY}")
    size = path.stat().st_size
    if path.name == OFFICIAL_NAME and size < OFFICIAL_BYTES:
        raise CheckpointError(
            f"{path} has {size:,} of {OFFICIAL_BYTES:,} bytes: the download is not complete. {_REMEDY}"
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "weights_only" in str(error).lower() and "global" in str(error).lower():
            raise CheckpointError(
                f"{path} holds Python objects beside tensors, which could run code: refused. "
                "Save the plain state_dict and use that"
            ) from error
        raise CheckpointError(f"{path} is damaged or is no PyTorch checkpoint. {_REMEDY}") from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, IndexError) as error:
        raise CheckpointError(f"{path} is damaged or is no PyTorch checkpoint. {_REMEDY}") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(f"{path} does not hold a plain state_dict (names and tensors)")
    return state


def load_prior(model: nn.Module, path: Path, config_name: str) -> PriorInfo:
    """Load a checkpoint into a model, strictly, and make it ready for inference.

    ``model`` may lie on the meta device: it takes the file's tensors, in float32, on the CPU. ``config_name``
    is the YAML file that described the model, for the message. Raises CheckpointError when keys or shapes
    differ, or a weight is not finite.
    """
    state = read_state_dict(path)
    _check_fit(model, state, path, config_name)
    state = {key: value.float() for key, value in state.items()}
    for key, value in state.items():
        if not torch.isfinite(value).all():
            raise CheckpointError(f"{path}: {key} holds NaN or infinite weights; get a whole copy")
    model.load_state_dict(state, strict=True, assign=True)
    model.eval().requires_grad_(False)
    parameters = sum(value.numel() for value in state.values())
    return PriorInfo(file=path.name, sha256=file_sha256(path), parameters=parameters)


def _check_fit(model: nn.Module, state: dict[str, Tensor], path: Path, config_name: str) -> None:
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
        "Give the --model_config that belongs to this file, or correct its model_path"
    )
