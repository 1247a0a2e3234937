"""What ``verify`` says about a file."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from util.checkpoint.architecture import infer_architecture
from util.checkpoint.known import COMPACT_SHA256, GREY_SHA256, OFFICIAL
from util.checkpoint.loading import check_values
from util.checkpoint.reading import CheckpointFile, open_checkpoint
from util.checkpoint.shipped import Comparison, compare
from util.checkpoint.unwrap import Weights, unwrap
from util.logger import shown


@dataclass
class Report:
    """Facts about a checkpoint file, by name, and why it cannot be used (empty if it can)."""

    path: Path
    facts: dict[str, str] = field(default_factory=dict)
    problem: str = ""

    def text(self) -> str:
        """The facts, a line each, under the path."""
        lines = [str(self.path)]
        for name, fact in self.facts.items():
            lines += f"  {name:<13} {fact}".split("\n")
        return "\n".join(map(shown, lines))


def examine(path: Path, configs: Path) -> Report:
    """Everything that can be told about a checkpoint file; ``configs``: the folder of the model configurations."""
    report = Report(path)
    try:
        with open_checkpoint(path) as file:
            _identify(report, file)
            weights = unwrap(file.content, str(path))
            _describe(report, weights)
            for key, value in zip(weights.state, file.tensors(list(weights.state.values())), strict=True):
                check_values(path, key, value)
        shapes = {key: value.shape for key, value in weights.state.items()}
        found = infer_architecture(shapes)
        lines = found.lines()
        report.facts["architecture"] = "\n".join([lines[0], *(f"{'':<16}{line}" for line in lines[1:])])
        report.problem = _judge(report, compare(shapes, found, configs))
    except ValueError as error:
        text = str(error)
        report.problem = text if str(path) in text else f"{path}: {text}"
    except OSError as error:
        report.problem = f"{path} cannot be read: {error.strerror or error}"
    return report


def _identify(report: Report, file: CheckpointFile) -> None:
    names = {
        OFFICIAL.sha256: "the official checkpoint",
        COMPACT_SHA256: "the compact one of this repository",
        GREY_SHA256: "the grey one of this repository",
    }
    report.facts["size"] = f"{file.size:,} bytes"
    report.facts["sha256"] = file.sha256
    report.facts["known as"] = names.get(file.sha256, "not a published file")


def _describe(report: Report, weights: Weights) -> None:
    types = Counter(str(value.dtype).removeprefix("torch.") for value in weights.state.values())
    count = sum(value.numel() for value in weights.state.values())
    report.facts["kind"] = weights.words or "plain state_dict"
    report.facts["parameters"] = f"{count:,} in {len(weights.state):,} tensors"
    report.facts["precision"] = ", ".join(types)


def _judge(report: Report, comparisons: list[Comparison]) -> str:
    """Say which configurations fit; returns the problem if none does."""
    fitting = [comparison.config for comparison in comparisons if comparison.fits]
    if fitting:
        report.facts["fits"] = ", ".join(f"configs/{config.name}" for config in fitting)
        report.facts["not shown"] = (
            "heads, attention order, norm_groups, image_size: these are the configuration's word"
        )
        return ""
    if not comparisons:
        return f"{report.path}: there is no model configuration to compare it with"
    nearest = comparisons[0]
    report.facts["fits"] = "no shipped configuration"
    return (
        f"{report.path} fits no shipped configuration; the nearest is configs/{nearest.config.name}, where "
        f"{'; '.join(nearest.differences)}. Write a model configuration with the architecture above for it"
    )
