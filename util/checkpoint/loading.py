"""Loading a prior: checked to the last key, or refused with the remedy. Never random weights."""

from __future__ import annotations

import logging
import pickle
import re
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from util.checkpoint.known import COMPACT_SHA256, OFFICIAL, REMEDY, CheckpointError, known_file
from util.checkpoint.unwrap import Weights, unwrap
from util.files import file_sha256

_OLD_TORCH = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # how torch.save began its files until 1.6

log = logging.getLogger("ddfm")


@dataclass(frozen=True)
class PriorInfo:
    """Which prior made an image. ``official`` only if the file has the hash of the published one."""

    file: str
    sha256: str
    parameters: int

    @property
    def official(self) -> bool:
        return self.sha256 == OFFICIAL.sha256

    @property
    def compact(self) -> bool:
        """Whether the file is the compact prior that comes with this repository."""
        return self.sha256 == COMPACT_SHA256


def read_weights(path: Path) -> Weights:
    """The weights in a checkpoint file, unwrapped, on the CPU, in the file's precision.

    Raises CheckpointError; runs no code from the file. Its tensors may be mapped from the file: they are read
    when they are used.
    """
    if not path.is_file():
        problem = "is a folder, not a file" if path.is_dir() else "does not exist"
        raise CheckpointError(f"the checkpoint {path} {problem}. {REMEDY}")
    known, size = known_file(path.name), path.stat().st_size
    if known is not None and size < known.size:
        raise CheckpointError(
            f"{path} has {size:,} of {known.size:,} bytes: the download is not complete. Delete it. {REMEDY}"
        )
    return unwrap(_read_tensors(path), str(path))


def _read_tensors(path: Path) -> object:
    """The content of a file of torch.save: tensors, numbers, text, lists and dictionaries, nothing else."""
    try:
        with path.open("rb") as stream:
            head = stream.read(512)
        zipped = zipfile.is_zipfile(path)
        if zipped and (problem := _zip_problem(path)):
            raise CheckpointError(f"{path} {problem}. {REMEDY}")
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error
    if head[:1] == b"\x80" and not head.startswith(_OLD_TORCH):
        raise CheckpointError(
            f"{path} is a bare pickle, which could run code when it is read: refused. "
            "Save the plain state_dict with torch.save and use that"
        )
    try:
        # mapped: of a file that also holds an optimiser's state, only the weights are read
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except pickle.UnpicklingError as error:
        foreign = re.search(r"global:? (?:GLOBAL )?([\w.]+)", str(error), re.IGNORECASE)
        if "weights_only" in str(error).lower() and foreign:
            raise CheckpointError(
                f"{path} holds Python objects beside tensors ({foreign[1]}), which could run code: refused. "
                "Save the plain state_dict and use that"
            ) from error
        raise CheckpointError(f"{path} {_not_torch(head)}. {REMEDY}") from error
    except (RuntimeError, EOFError, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} {_not_torch(head)}. {REMEDY}") from error


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of :func:`read_weights`, with a word in the log if they had to be unwrapped."""
    weights = read_weights(path)
    if weights.words:
        log.info(f"{path.name}: {weights.words}")
    return weights.state


def load_prior(model: nn.Module, path: Path, config_name: str) -> PriorInfo:
    """Load a checkpoint into a model, strictly, and make it ready for inference.

    ``model`` may lie on the meta device: it takes the file's tensors, in float32, on the CPU. ``config_name``
    is the YAML file that described the model, for the message. Raises CheckpointError when keys or shapes
    differ, or a weight is not finite.
    """
    state = read_state_dict(path)
    _check_fit(model, state, path, config_name)
    for key, value in state.items():
        check_values(path, key, value)
        state[key] = value.to(torch.float32, copy=True)
    model.load_state_dict(state, strict=True, assign=True)
    model.eval().requires_grad_(False)
    parameters = sum(value.numel() for value in state.values())
    return PriorInfo(file=path.name, sha256=file_sha256(path), parameters=parameters)


def check_values(path: Path, key: str, value: Tensor) -> None:
    """Raise CheckpointError, naming file and weight, for numbers that no network can be run with."""
    if not value.is_floating_point():
        raise CheckpointError(
            f"{path}: {key} is {value.dtype}; quantised weights cannot be used, get those in float32 or float16"
        )
    if not torch.isfinite(value.float()).all():  # as it will be used
        raise CheckpointError(f"{path}: {key} holds NaN or infinite weights; get a whole copy")


def _not_torch(head: bytes) -> str:
    """What a file that torch cannot read is, as far as its first bytes tell."""
    if not head:
        return "is empty, so it is damaged or is no PyTorch checkpoint"
    if head.startswith((b"PK", _OLD_TORCH)):
        return "is damaged or is no PyTorch checkpoint (it begins like one; perhaps its end is missing)"
    if head.startswith(b"version https://git-lfs"):
        return "is a pointer of git-lfs, not the file itself: git lfs pull fetches it"
    if head[8:9] == b"{":
        return "is damaged or is no PyTorch checkpoint (perhaps safetensors, which is not supported)"
    if head.isascii() and not re.search(rb"[\x00-\x08]", head):
        return "is a text file (a web page in disguise?), so it is damaged or is no PyTorch checkpoint"
    return "is damaged or is no PyTorch checkpoint"


def _zip_problem(path: Path) -> str:
    """What is wrong with a zip archive that is to be of torch.save, whole and undamaged; empty if nothing is."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = {name.rpartition("/")[2] for name in archive.namelist()}
            broken = archive.testzip()  # torch.load looks at no checksums
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError):
        return _not_torch(b"PK")
    if "constants.pkl" in names:
        return "is a TorchScript program: save the plain state_dict with torch.save and use that"
    if "data.pkl" not in names:
        return "is a zip archive, but not one of torch.save: it is damaged or is no PyTorch checkpoint"
    if broken is not None:
        return f"is damaged: the checksum of {broken} in it is wrong; get a whole copy"
    return ""


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
        f"Give the --model_config that belongs to this file, or correct its model_path "
        f"(python -m util.checkpoint verify {path} tells which)"
    )
