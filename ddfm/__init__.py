"""DDFM: fusing registered images of one scene with a diffusion prior. See docs/api.md.

from ddfm import fuse, open_prior
fuse(open_prior(), ["infrared.png", "visible.png"]).save("fused.png")
"""

from guided_diffusion.admm import FixedBalance
from guided_diffusion.config import DiffusionConfig, RuntimeConfig
from guided_diffusion.em_paper import Paper
from guided_diffusion.em_released import Released
from guided_diffusion.fusion_config import FusionConfig
from guided_diffusion.local.em import Local, LocalFast
from guided_diffusion.prior import NetworkPrior, Prior, diffusers_prior, function_prior
from guided_diffusion.rectification import RECTIFICATIONS, Rectification
from guided_diffusion.samplers import SAMPLERS, Sampler
from util.door import Fused, fuse
from util.evaluation.api import evaluate
from util.presets import Preset, preset
from util.prior import LoadedPrior, open_prior
from util.run.folder import fuse_folder
from util.run.settings import FolderSettings
from util.sequences.run import fuse_sequence
from util.version import __version__

__all__ = [
    "RECTIFICATIONS",
    "SAMPLERS",
    "DiffusionConfig",
    "FixedBalance",
    "FolderSettings",
    "Fused",
    "FusionConfig",
    "LoadedPrior",
    "Local",
    "LocalFast",
    "NetworkPrior",
    "Paper",
    "Preset",
    "Prior",
    "Rectification",
    "Released",
    "RuntimeConfig",
    "Sampler",
    "__version__",
    "diffusers_prior",
    "evaluate",
    "function_prior",
    "fuse",
    "fuse_folder",
    "fuse_sequence",
    "open_prior",
    "preset",
]
