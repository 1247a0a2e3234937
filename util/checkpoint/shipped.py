"""Which of the shipped model configurations a checkpoint fits. The one place of ``util`` that builds networks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from guided_diffusion.config import ModelConfig
from guided_diffusion.script_util import empty_model
from guided_diffusion.typed import from_mapping
from util.checkpoint.architecture import Architecture, Shapes, infer_architecture
from util.config_io import read_yaml


@dataclass(frozen=True)
class Comparison:
    """A configuration beside a checkpoint. ``wrong``: names that are missing, too many or of another shape."""

    config: Path
    wrong: int
    differences: tuple[str, ...]

    @property
    def fits(self) -> bool:
        return self.wrong == 0


def config_shapes(path: Path) -> Shapes:
    """Names and shapes of the weights that a model configuration describes. Raises ValueError."""
    config = from_mapping(ModelConfig, read_yaml(path), str(path))
    return {key: tuple(value.shape) for key, value in empty_model(config).state_dict().items()}


def compare(shapes: Shapes, found: Architecture, folder: Path) -> list[Comparison]:
    """The checkpoint beside every ``model_config_*.yaml`` of a folder, the nearest first."""
    return sorted(
        (_compare(shapes, found, path) for path in sorted(folder.glob("model_config_*.yaml"))),
        key=lambda comparison: (comparison.wrong, len(comparison.differences)),
    )


def _compare(shapes: Shapes, found: Architecture, path: Path) -> Comparison:
    wanted = config_shapes(path)
    names = shapes.keys() | wanted.keys()
    wrong = [name for name in names if shapes.get(name) != wanted.get(name)]
    differences = found.differences(infer_architecture(wanted), "in the file", f"in {path.name}")
    if wrong and not differences:
        differences = [f"{len(wrong)} weights, among them {min(wrong)}"]
    return Comparison(path, len(wrong), tuple(differences))
