"""The prior of a run: which one, its weights on the device, and what it means for the images."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import TypeVar

from guided_diffusion.config import ModelConfig
from guided_diffusion.execution import Execution, ready
from guided_diffusion.script_util import empty_model
from guided_diffusion.typed import from_mapping
from guided_diffusion.unet import AttentionBlock, UNetModel
from util.checkpoint import CheckpointError, PriorInfo, load_prior, locate, obtain
from util.config_io import read_yaml
from util.files import project_root
from util.memory import available_bytes

OFFICIAL_CONFIG = "configs/model_config_imagenet.yaml"
COMPACT_CONFIG = "configs/model_config_compact.yaml"

ROOM = 3
"""Times its float32 weights, free before loading, for which a prior may take more memory to be faster."""

T = TypeVar("T")

log = logging.getLogger("ddfm")


def read_config(cls: type[T], path: Path) -> T:
    """The dataclass ``cls`` from a YAML file. Raises ValueError."""
    return from_mapping(cls, read_yaml(path), str(path))


def choose_prior(path: Path | None, root: Path) -> tuple[Path, ModelConfig]:
    """The model configuration asked for, or the official one if its checkpoint is there, or the compact one.

    Paths of ``root``, the folder of the project, stand in for what is not in the current folder. Raises ValueError.
    """
    if path is None:
        path = root / OFFICIAL_CONFIG
        official: ModelConfig = read_config(ModelConfig, path)
        if not locate(official.model_path, root).exists():
            path = root / COMPACT_CONFIG
    config: ModelConfig = read_config(ModelConfig, path)
    if config.class_cond:
        raise ValueError(f"{path}: class_cond must be false, fusion needs an unconditional prior")
    if not config.model_path:
        raise ValueError(f"{path}: the key model_path is missing, the checkpoint of this prior")
    return path, config


def load_model(
    path: Path, config: ModelConfig, root: Path, execution: Execution
) -> tuple[UNetModel, PriorInfo]:
    """The prior with the weights of its checkpoint, ready for ``execution``; a remote one is fetched first.

    Raises CheckpointError, DownloadError.
    """
    model = empty_model(config)
    info = load_ready(model, obtain(config.model_path, root), str(path), execution)
    return model, info


def load_ready(model: UNetModel, checkpoint: Path, config_name: str, execution: Execution) -> PriorInfo:
    """Fill ``model``, which is empty, with the weights of a file and make it ready for ``execution``, in place.

    ``config_name``: where the model was described. Raises CheckpointError, also when one of the two priors that this
    project knows is to run as a network that has its shapes but computes something else.
    """
    size = 4 * sum(weights.numel() for weights in model.parameters())
    available = available_bytes()  # before the weights take their part
    info = load_prior(model, checkpoint, config_name)
    _check_unseen(model, info, config_name)
    if execution.winograd and available is not None and available < ROOM * size:
        log.info(
            f"{available / 2**30:.1f} GiB of memory are free: running the prior in the least that it needs"
        )
        execution = dataclasses.replace(execution, roomy=False)
    ready(model, execution)
    return info


def _check_unseen(model: UNetModel, info: PriorInfo, config_name: str) -> None:
    shipped = OFFICIAL_CONFIG if info.official else COMPACT_CONFIG if info.compact else None
    if shipped is None:
        return
    published = _unseen(empty_model(read_config(ModelConfig, project_root() / shipped)))
    differing = [key for key, value in _unseen(model).items() if value != published[key]]
    if differing:
        raise CheckpointError(
            f"{config_name} gives {info.file} another {' and '.join(differing)} than it was trained with, which "
            f"would make noise of it: use the values of {shipped}"
        )


def _unseen(model: UNetModel) -> dict[str, object]:
    """By key of the configuration, what leaves no trace in the shapes of the weights but changes the results."""
    blocks = {name: block for name, block in model.named_modules() if isinstance(block, AttentionBlock)}
    return {
        "num_heads or num_head_channels": {name: block.num_heads for name, block in blocks.items()},
        "use_new_attention_order": model.params.use_new_attention_order,
        "norm_groups": model.params.norm_groups,
    }


def describe_prior(info: PriorInfo, config_path: Path) -> None:
    """Say which prior makes the images, and what that means."""
    log.info(f"prior {info.file}, {info.parameters:,} parameters, sha256 {info.sha256}")
    if info.official:
        log.info("this is the official checkpoint: results are those of the released DDFM")
    elif config_path.name == Path(OFFICIAL_CONFIG).name:
        log.warning(
            "this file fits, but is not the published checkpoint: results are not the released DDFM's"
        )
    elif info.compact:
        log.info(
            "this is the compact prior of this repository: results are similar to those of the released "
            "DDFM, not the same (README.md says how to get the official one)"
        )
    else:
        log.info("this is not the official checkpoint: results are not those of the released DDFM")
