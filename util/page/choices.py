"""What a visitor can choose, in words, and what the library makes of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from guided_diffusion.config import ModelConfig
from guided_diffusion.local.em import LocalFast
from util.checkpoint import locate
from util.files import project_root
from util.images.registration.search import Register, check_register
from util.presets import Preset, preset
from util.prior import OFFICIAL_CONFIG, read_config

METHODS = {
    "local": ("Local", "Keeps what is bright or sharp in either image, at full contrast. Seconds."),
    "local_fast": ("Local, fast", "The same in one step: a little less detail. Under a second."),
    "quick": ("DDFM, quick", "The published method from a warm start: nearly the mean of both images."),
    "released": ("DDFM, as released", "The published method in 100 steps. Minutes without a graphics card."),
    "paper": ("DDFM, paper's form", "Algorithm 1 of the paper put right: near one of the images. Minutes."),
}
"""Preset -> what it is called here, and what it does."""

SCENES = {
    "auto": "tell from the images",
    "ivf": "infrared and visible light",
    "mif": "medical: MRI with CT, PET or SPECT",
    "focus": "one scene focused at different depths",
    "exposure": "one scene exposed differently",
}

PRIORS = {
    "auto": "as the method has it",
    "compact": "compact: trained on photographs, colour",
    "grey": "grey: trained on grey photographs",
    "imagenet": "official: the published network",
}

NOISES = {"preset": "as the method has it", "auto": "find it and take it off", "off": "leave it"}

TONES: dict[str, tuple[str, float | None]] = {
    "preset": ("as the method has it", None),
    "none": ("levels as they are", 0.0),
    "mild": ("a little more contrast", 0.2),
    "strong": ("much more contrast", 0.5),
}

REGISTERS = {
    "off": "they fit already",
    "auto": "look, and move the first one if it is off",
    "translation": "shift the first one",
    "affine": "shift, turn and scale the first one",
}

SAMPLES = {1: "none: one result", 4: "from 4 samples", 8: "from 8 samples", 16: "from 16 samples"}

Noise = Literal["preset", "auto", "off"]


def priors() -> dict[str, str]:
    """Of :data:`PRIORS` those that are here."""
    return {name: words for name, words in PRIORS.items() if name != "imagenet" or _official_is_here()}


def _official_is_here() -> bool:
    root = project_root()
    config: ModelConfig = read_config(ModelConfig, root / OFFICIAL_CONFIG)
    return locate(config.model_path, root).exists()


@dataclass(frozen=True)
class Choices:
    """How a scene is to be fused. ``steps`` None: as many as the method has. Raises ValueError for unknown names.

    ``samples``: more than one show how uncertain the result is; a sampler that would draw no noise then does (eta 1).
    """

    method: str = "local"
    scene: str = "auto"
    prior: str = "auto"
    steps: int | None = None
    noise: Noise = "preset"
    tone: str = "preset"
    samples: int = 1
    register: Register = "off"

    def __post_init__(self) -> None:
        _check("method", self.method, METHODS)
        _check("scene", self.scene, SCENES)
        _check("prior", self.prior, priors())
        _check("noise", self.noise, get_args(Noise))
        _check("tone", self.tone, TONES)
        check_register(self.register)
        _check("number of samples", self.samples, SAMPLES)
        if self.steps is not None and (isinstance(self.steps, bool) or not isinstance(self.steps, int)):
            raise ValueError(f"the number of steps is {self.steps!r}, but must be a whole number")

    def preset(self) -> Preset:
        """The configurations chosen. Raises ValueError where they do not go together."""
        eta = 1.0 if self.samples > 1 and preset(self.method).fusion.prior is True else None
        chosen = preset(
            self.method,
            model_config=None if self.prior == "auto" else self.prior,
            steps=self.steps,
            noise=None if self.noise == "preset" else self.noise,
            tone=TONES[self.tone][1],
            samples=self.samples,
            eta=eta,
        )
        em = chosen.fusion.em
        if isinstance(em, LocalFast) and self.scene != "auto":
            em = dataclasses.replace(em, task=self.scene)
        return dataclasses.replace(chosen, fusion=dataclasses.replace(chosen.fusion, em=em))


def _check(what: str, value: object, known: Iterable[object]) -> None:
    if value not in list(known):
        raise ValueError(f"there is no {what} {value!r:.80}; there are {', '.join(map(str, known))}")
