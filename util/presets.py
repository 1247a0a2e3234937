"""Presets: configurations that belong together, by name."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from guided_diffusion.config import DiffusionConfig
from guided_diffusion.fusion_config import FusionConfig
from guided_diffusion.gaussian_diffusion import GaussianDiffusion
from guided_diffusion.prior import Prior
from guided_diffusion.samplers import Step
from util.configs import config_names, find_config, nearest
from util.door import Fused, fuse
from util.overrides import override
from util.prior import LoadedPrior, open_prior, read_config
from util.run.folder import FolderSettings

DEFAULT = "released"

log = logging.getLogger("ddfm")


@dataclass(frozen=True)
class PresetFiles:
    """What a preset is made of: names of configurations, and a line that says what it is for.

    ``model_config`` None: the official prior where its checkpoint is, else the compact one.
    """

    about: str
    fusion_config: str
    diffusion_config: str = "diffusion_config"
    model_config: str | None = None


OWN = {
    "released": PresetFiles(
        "the released code, quirks included; 100 evaluations of the prior", "fusion_config"
    ),
    "paper": PresetFiles("Algorithm 1 of the paper, put right; 100 evaluations of the prior", "paper"),
    "local": PresetFiles(
        "local fusion, ours: both sources at full contrast; the grey prior sees noisy sources alone",
        "local",
        model_config="grey",
    ),
    "local_fast": PresetFiles("its closed form alone, without a prior: the fastest", "local_fast"),
    "quick": PresetFiles("released, from a warm start: 25 evaluations, and no cropping", "quick", "quick"),
    "grey": PresetFiles(
        "released, by the grey prior: 100 evaluations, most of them where little noise is left",
        "fusion_config",
        "grey",
        "grey",
    ),
}


def presets() -> dict[str, PresetFiles]:
    """All presets by name: :data:`OWN`, and the experiments of the paper's ablation.

    ``exp_1`` is ``configs/ablation/exp_1_released.yaml``, ``exp_1_paper`` the paper's form of it.
    """
    found: dict[str, PresetFiles] = {}
    for name, path in config_names("fusion").items():
        if path.parent.name == "ablation":
            first_line = path.read_text(encoding="utf-8").splitlines()[0]
            about = first_line.lstrip("# ").rstrip(".").partition(";")[0]
            experiment, _, variant = name.rpartition("_")
            called = experiment if variant == DEFAULT else name
            found[called] = PresetFiles(f"{about} ({variant})", name)
    return OWN | dict(sorted(found.items()))


@dataclass(frozen=True)
class Preset:
    """How images are fused: configurations that have been read.

    ``model_config``: the prior, as :func:`~util.prior.open_prior` takes it.
    """

    fusion: FusionConfig
    diffusion: DiffusionConfig
    model_config: Path | str | None = None

    def open_prior(self, device: str = "auto") -> LoadedPrior | None:
        """The prior that it asks, None if it asks none. Raises as :func:`~util.prior.open_prior` does."""
        if self.fusion.prior is False:
            return None
        return open_prior(
            self.model_config, diffusion=self.diffusion, runtime=self.fusion.runtime, device=device
        )

    def fuse(
        self, images: Sequence[Any], prior: Prior | None = None, on_step: Callable[[Step], None] | None = None
    ) -> Fused:
        """Fuse images of one scene as :func:`~util.door.fuse` does; it never crops.

        ``prior``: what :meth:`open_prior` gave, so that several scenes share one; None: it is opened for this one.
        Raises ValueError also for a setting that is for folders alone, and for a prior where none is asked.
        """
        config = self.fusion
        if prior is not None and config.prior is False:
            raise ValueError("these settings ask no prior (prior: false), but one is given: leave it out")
        for name, usual in (("color", "auto"), ("ir_range", None), ("vi_range", None), ("ranges", None)):
            if getattr(config, name) != usual:
                raise ValueError(
                    f"{name} is {getattr(config, name)!r}, but is for folders alone: leave it {usual}"
                )
        return fuse(
            self.open_prior() if prior is None else prior,
            images,
            rectification=config.em,
            sampler=None if config.prior == "noise" else self.diffusion.sampler,
            seed=config.seed,
            eta=config.eta,
            warm_start=config.warm_start,
            noise=config.noise,
            samples=config.samples,
            register=config.register,
            iterations=GaussianDiffusion.from_config(self.diffusion).num_timesteps,
            color_method=config.color_method,
            on_step=on_step,
        )

    def folder(self, save_dir: Path, **settings: Any) -> FolderSettings:
        """The settings of a folder fused so; the others are those of :class:`~util.run.folder.FolderSettings`."""
        return FolderSettings(
            save_dir=save_dir,
            fusion=self.fusion,
            diffusion=self.diffusion,
            model_config=self.model_config,
            **settings,
        )


def preset(
    name: str = DEFAULT,
    *,
    fusion_config: Path | str | None = None,
    diffusion_config: Path | str | None = None,
    model_config: Path | str | None = None,
    **changes: Any,
) -> Preset:
    """The preset of that name. Raises ValueError, with the names there are, for another.

    Files or names of configurations (:func:`~util.configs.find_config`) take the place of the preset's of their kind.
    ``changes``: ``steps``, ``variant``, ``noise``, ``tone`` and others, see :func:`~util.overrides.override`.
    """
    known = presets()
    if name not in known:
        raise ValueError(f"there is no preset {name!r}; there are {', '.join(known)}{nearest(name, known)}")
    files = known[name]
    own = [find_config("fusion", files.fusion_config), find_config("diffusion", files.diffusion_config)]
    used = [
        own[0] if fusion_config is None else find_config("fusion", fusion_config),
        own[1] if diffusion_config is None else find_config("diffusion", diffusion_config),
    ]
    said = [
        path.name if path == usual else f"{path} in place of {usual.name}"
        for path, usual in zip(used, own, strict=True)
    ]
    log.info(f"preset {name}: {', '.join(said)}")
    fusion: FusionConfig = read_config(FusionConfig, used[0])
    diffusion: DiffusionConfig = read_config(DiffusionConfig, used[1])
    return Preset(
        *override(fusion, diffusion, **changes), files.model_config if model_config is None else model_config
    )
