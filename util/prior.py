"""The prior of a run: :func:`open_prior` chooses, loads and checks one, makes it ready, and says what it means."""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch

from guided_diffusion.config import DiffusionConfig, ModelConfig, RuntimeConfig
from guided_diffusion.execution import CompiledModel, Execution, can_compile, choose_precision, ready
from guided_diffusion.gaussian_diffusion import GaussianDiffusion
from guided_diffusion.prior import NetworkPrior
from guided_diffusion.samplers import SAMPLERS
from guided_diffusion.script_util import empty_model
from guided_diffusion.tiling import tile_large_images
from guided_diffusion.typed import ConfigError, from_mapping
from guided_diffusion.unet import AttentionBlock, UNetModel
from util.checkpoint import CheckpointError, PriorInfo, locate, obtain
from util.checkpoint.loading import load_prior
from util.config_io import read_yaml
from util.configs import find_config
from util.device import check_precision, choose_device, device_label
from util.files import project_root
from util.memory import available_bytes

OFFICIAL_CONFIG = "configs/model_config_imagenet.yaml"
COMPACT_CONFIG = "configs/model_config_compact.yaml"
GREY_CONFIG = "configs/model_config_grey.yaml"

ROOM = 3
"""Times its float32 weights, free before loading, for which a prior may take more memory to be faster."""

T = TypeVar("T")

log = logging.getLogger("ddfm")


@dataclass(frozen=True, eq=False, kw_only=True)
class LoadedPrior(NetworkPrior):
    """A prior with the weights of a checkpoint, ready to run on images of any size that is a multiple of 32.

    ``info``: the file; ``config``: the architecture; ``execution``: where and with which numbers it runs.
    """

    info: PriorInfo
    config: ModelConfig
    execution: Execution

    @property
    def device(self) -> torch.device:
        """Where its images must lie."""
        return self.execution.device

    def describe(self) -> dict[str, Any]:
        """File, hash, architecture, device and precision, for logs and images."""
        return {
            "prior": dataclasses.asdict(self.info),
            # without the path: what counts is the file's hash, and images should not tell folder names
            "model_config": dataclasses.asdict(dataclasses.replace(self.config, model_path="")),
            "device": device_label(self.device),
            "precision": self.execution.precision,
        }


def open_prior(
    model_config: Path | str | None = None,
    *,
    diffusion: DiffusionConfig | None = None,
    runtime: RuntimeConfig | None = None,
    device: torch.device | str = "auto",
) -> LoadedPrior:
    """The one door to a prior: chosen, fetched if it is remote, loaded to the last key, checked, and ready to run.

    ``model_config``: a YAML file, or the name of one that comes with the project, ``compact`` or ``imagenet``
    (default: ``imagenet``, the official prior, if its checkpoint is there, else ``compact``). ``diffusion``: its
    process and how it is read (default: as released, 100 steps). ``runtime``: precision, compiling and tiles.
    ``device``: ``auto``, ``cpu``, ``cuda``, ``cuda:N``. Says in the log which prior it is.

    Raises ValueError (a configuration, CheckpointError), OSError (DownloadError, a file that cannot be read).
    """
    runtime = RuntimeConfig() if runtime is None else runtime
    if isinstance(device, str):
        device = choose_device(device, None)
    path, config = choose_prior(model_config, project_root())
    precision = choose_precision(runtime.precision, config.use_fp16, device)
    check_precision(precision, device)
    execution = Execution(device, precision, runtime.compile and can_compile(device))
    process = GaussianDiffusion.from_config(DiffusionConfig() if diffusion is None else diffusion)
    network, info = load_model(path, config, project_root(), execution)
    process.check_channels(network.params.out_channels, network.params.in_channels)
    describe_prior(info, path)
    log.info(execution.describe(network))
    model = tile_large_images(CompiledModel(network) if execution.compile else network, runtime)
    return LoadedPrior(
        model, process, network.params.in_channels, info=info, config=config, execution=execution
    )


def read_config(cls: type[T], path: Path) -> T:
    """The dataclass ``cls`` from a YAML file. Raises ConfigError, a ValueError, that names the file."""
    config = from_mapping(cls, read_yaml(path), str(path))
    if isinstance(config, DiffusionConfig) and config.sampler not in SAMPLERS:
        raise ConfigError(f"{path}: sampler is {config.sampler!r}, but must be one of {', '.join(SAMPLERS)}")
    if isinstance(config, DiffusionConfig):
        try:
            GaussianDiffusion.from_config(config)
        except ValueError as error:
            raise ConfigError(f"{path}: {error}") from error
    return config


def choose_prior(wanted: Path | str | None, root: Path) -> tuple[Path, ModelConfig]:
    """The model configuration asked for, or the official one if its checkpoint is there, or the compact one.

    ``wanted``: a file or a name, see :func:`~util.configs.find_config`. Paths of ``root``, the folder of the project,
    stand in for what is not in the current folder. Raises ValueError.
    """
    path = None if wanted is None else find_config("model", wanted, root)
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
    try:
        model = empty_model(config)
    except ConfigError as error:  # which knows no file
        raise ConfigError(f"{path}: {error}") from error
    info = load_ready(model, obtain(config.model_path, root), str(path), execution)
    return model, info


def load_ready(model: UNetModel, checkpoint: Path, config_name: str, execution: Execution) -> PriorInfo:
    """Fill ``model``, which is empty, with the weights of a file and make it ready for ``execution``, in place.

    ``config_name``: where the model was described. Raises CheckpointError, also when one of the priors that this
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
    owners = ((OFFICIAL_CONFIG, info.official), (COMPACT_CONFIG, info.compact), (GREY_CONFIG, info.grey))
    shipped = next((config for config, owned in owners if owned), None)
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
            "DDFM, not the same (python -m util.checkpoint download fetches the official one, 2.2 GB)"
        )
    elif info.grey:
        log.info(
            "this is the grey prior of this repository: results are not those of the released DDFM, nor of the "
            "compact prior"
        )
    else:
        log.info("this is not the official checkpoint: results are not those of the released DDFM")
