"""What of the results is shown in panels and reports: which pairs, which files, which part of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from util.evaluation.folders import Result, Triple
from util.images.image_io import SourceImage

Box = tuple[int, int, int, int]
"""x, y, width, height in pixels."""


def salient_box(a: np.ndarray, b: np.ndarray, share: float = 0.22) -> Box:
    """Where the infrared image ``a`` is salient and both have something to show.

    The window with the largest product of how far ``a`` rises above its mean plus 1.5 standard deviations, and of
    the root of both local standard deviations; of the latter alone where ``a`` rises nowhere so far. a, b: (H, W)
    uint8 of one size; the window is a 4:3 rectangle of about ``share`` of the shorter side.
    """
    height, width = a.shape
    h = max(8, round(min(height, width) * share))
    w = min(width, h * 4 // 3)
    score = _deviation(a, h, w) * _deviation(b, h, w)
    raised = _window_sums(np.maximum(a - (a.mean() + 1.5 * a.std()), 0.0), h, w)
    salient = np.sqrt(np.maximum(score, 0.0)) * np.maximum(raised, 0.0)
    score = salient if salient.max() > 0 else score
    y, x = np.unravel_index(int(score.argmax()), score.shape)
    return int(x), int(y), w, h


def _deviation(image: np.ndarray, h: int, w: int) -> np.ndarray:
    """Standard deviation in the window (h, w) whose top left corner is at each place where it fits."""
    values = image.astype(np.float64)
    mean, square = (_window_sums(power, h, w) / (h * w) for power in (values, values**2))
    return np.sqrt(np.maximum(square - mean**2, 0.0))


def _window_sums(values: np.ndarray, h: int, w: int) -> np.ndarray:
    integral = np.pad(values, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    return integral[h:, w:] - integral[:-h, w:] - integral[h:, :-w] + integral[:-h, :-w]


def check_box(box: Box, size: tuple[int, int], name: str) -> Box:
    """The box, if it lies in an image of that (height, width). Raises ValueError that names the image."""
    x, y, w, h = box
    height, width = size
    if x + w > width or y + h > height:
        raise ValueError(f"{name} is {width}x{height}: the box {x},{y},{w},{h} does not lie in it")
    return box


def by_dataset(results: Sequence[Result]) -> dict[str, list[Result]]:
    """The results of every data set, in their order."""
    return {
        name: [result for result in results if result.dataset == name]
        for name in dict.fromkeys(result.dataset for result in results)
    }


def choose_stems(results: Sequence[Result], stems: Sequence[str] | None, count: int) -> dict[str, list[str]]:
    """The pairs of every data set that are asked for and there or, by default, its first ``count``.

    Raises ValueError when ``stems`` are given and none of them is there.
    """
    there = {
        name: list(dict.fromkeys(triple.stem for result in of_set for triple in result.triples))
        for name, of_set in by_dataset(results).items()
    }
    if stems is None:
        return {name: known[:count] for name, known in there.items()}
    chosen = {name: [stem for stem in known if stem in stems] for name, known in there.items()}
    if not any(chosen.values()):
        names = ", ".join(stem for known in there.values() for stem in known[:10])
        raise ValueError(f"--stems {','.join(stems)}: there is no such image; there are {names}")
    return chosen


def fused_file(triple: Triple) -> Path:
    """The fused image in colour, where there is one beside the grey one that is measured; or that one."""
    colour = triple.fused.parent.parent / "color" / triple.fused.name
    return colour if triple.fused.parent.name == "recon" and colour.exists() else triple.fused


def shown(image: SourceImage) -> np.ndarray:
    """(H, W, 3) uint8, as it is to be seen."""
    return image.rgb if image.rgb is not None else np.repeat(image.luma[:, :, None], 3, axis=2)


def side_names(dataset: str) -> tuple[str, str]:
    """What the two sources of a data set are called."""
    if dataset.startswith("MRI-"):
        return dataset.removeprefix("MRI-"), "MRI"
    return "infrared", "visible"


def source_labels(result: Result) -> tuple[str, str]:
    """What the two sources of a result are called."""
    return result.sources or side_names(result.dataset)
