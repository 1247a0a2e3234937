"""``ddfm.evaluate``: arrays or folders in, a table object out."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from util.evaluation.comparison import Comparison
from util.evaluation.measuring import Job, compare
from util.evaluation.methods import find_jobs, source_names
from util.evaluation.metrics import METRICS, ZOO_METRICS, Protocol, check_metrics, check_protocol
from util.evaluation.tables import render
from util.images.matching import parse_matching

Array = NDArray[np.uint8]
Fused = str | Path | Array | Sequence[Array]


class Scoreboard:
    """Methods by metrics: printed as aligned text, and as whatever a paper or a notebook needs.

    ``comparison`` holds every image's values, ranks, intervals and paired tests.
    """

    def __init__(self, comparison: Comparison) -> None:
        self.comparison = comparison

    def __str__(self) -> str:
        return self.to_text()

    def _repr_markdown_(self) -> str:
        return self.to_markdown()

    def __getitem__(self, method: str) -> dict[str, float]:
        """The means of one method by metric. Raises KeyError for an unknown method."""
        if method not in self.comparison.methods:
            raise KeyError(f"there is no method {method!r}; there are {', '.join(self.comparison.methods)}")
        return {metric: self.comparison.mean(method, metric) for metric in self.comparison.metrics}

    @property
    def methods(self) -> list[str]:
        return list(self.comparison.methods)

    def to_dict(self) -> dict[str, object]:
        """Means, intervals, ranks, marks and every image's values; what is not finite is None."""
        return self.comparison.to_dict()

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=True) + "\n"

    def to_text(self) -> str:
        return render(self.comparison.table(), "text")

    def to_markdown(self) -> str:
        return render(self.comparison.table(), "markdown")

    def to_latex(self) -> str:
        return render(self.comparison.table(), "latex")

    def to_csv(self) -> str:
        """One line for each image of each method, and one for each mean; whole precision."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(["method", "image", *self.comparison.metrics])
        for name, images in self.comparison.methods.items():
            for stem, measured in images.items():
                writer.writerow([name, stem, *measured.scores.values()])
            if images:
                writer.writerow([name, "mean", *self[name].values()])
        return buffer.getvalue()

    def to_frame(self) -> Any:
        """A pandas DataFrame of every image's values by method and image. Raises ImportError without pandas."""
        try:
            import pandas as pd  # pyright: ignore[reportMissingImports, reportMissingModuleSource]
        except ImportError as error:
            raise ImportError(
                "to_frame needs pandas: pip install pandas; to_csv and to_dict do without"
            ) from error
        rows = {
            (name, stem): measured.scores
            for name, images in self.comparison.methods.items()
            for stem, measured in images.items()
        }
        index = pd.MultiIndex.from_tuples(list(rows), names=["method", "image"])
        return pd.DataFrame(list(rows.values()), index=index, columns=self.comparison.metrics)


def evaluate(
    fused: Fused | Mapping[str, Fused],
    ir: str | Path | Array | Sequence[Array],
    vi: str | Path | Array | Sequence[Array],
    *,
    metrics: Sequence[str] | str | None = None,
    protocol: Protocol = "ddfm",
    sources: tuple[str, str] | None = None,
    match: str = "stem",
    workers: int | None = None,
) -> Scoreboard:
    """Measure fused images against their two sources.

    ``fused``: one method or, as a mapping from names, several; each a folder, an array, or a list of arrays as long
    as the sources' lists. ``ir`` and ``vi``: folders, arrays or lists of arrays. Arrays are (H, W) or (H, W, 3)
    uint8. ``match``: which files of folders belong together: those of one stem; index: at one place in the order of
    names; or patterns for ir, vi and, where the fused images are not called by the star, for them, such as
    'thermal_*=rgb_*=fused_*'. ``metrics``: names or, separated by commas, one string; None means the twelve usual
    ones, or all 21 of protocol ``zoo``. ``sources``: what the two are called in the output; None goes by the folders'
    names. ``workers``: None uses every core.

    Raises ValueError for unknown metrics or protocols, arrays that do not fit and lists of different lengths,
    InputError (a ValueError) for folders that are missing or hold no image, and ValueError when nothing could be
    measured; single files that cannot be used are in the notes and in ``comparison.problems``.
    """
    check_protocol(protocol)
    names = metrics.split(",") if isinstance(metrics, str) else metrics
    chosen = list(names or (ZOO_METRICS if protocol == "zoo" else METRICS))
    check_metrics(chosen)
    methods = dict(fused) if isinstance(fused, Mapping) else {"fused": fused}
    if not methods:
        raise ValueError("fused names no method")
    if isinstance(ir, str | Path) and isinstance(vi, str | Path):
        folders = {name: Path(part) for name, part in methods.items() if isinstance(part, str | Path)}
        if len(folders) < len(methods):
            raise ValueError("sources are folders, so every method must be a folder too")
        jobs, missing = find_jobs(folders, Path(ir), Path(vi), matching=parse_matching(match))
        dataset = Path(ir).resolve().parent.name
        sources = sources or source_names(Path(ir), Path(vi))
    else:
        if match != "stem":
            raise ValueError(f"match={match!r} is for files in folders; arrays are matched by their place")
        jobs, missing, dataset = _array_jobs(methods, ir, vi), {}, "arrays"
    comparison = compare(
        jobs, chosen, protocol, dataset=dataset, sources=sources or ("infrared", "visible"), workers=workers
    )
    for name, problems in missing.items():
        comparison.problems.setdefault(name, []).extend(problems)
    if not any(comparison.methods.values()):
        reasons = [problem.reason for problems in comparison.problems.values() for problem in problems]
        raise ValueError(f"nothing could be measured: {reasons[0] if reasons else 'no image was given'}")
    return Scoreboard(comparison)


def _array_jobs(methods: Mapping[str, Any], ir: Any, vi: Any) -> list[Job]:
    lists = {"ir": _as_list(ir, "ir"), "vi": _as_list(vi, "vi")}
    lists |= {name: _as_list(part, name) for name, part in methods.items()}
    counts = {name: len(images) for name, images in lists.items()}
    if len(set(counts.values())) > 1:
        raise ValueError(f"there must be as many images of each, not {counts}")
    digits = len(str(max(counts.values())))
    return [
        Job(
            f"{index:0{digits}d}",
            lists["ir"][index],
            lists["vi"][index],
            {name: lists[name][index] for name in methods},
        )
        for index in range(counts["ir"])
    ]


def _as_list(part: Any, name: str) -> list[Array]:
    if isinstance(part, str | Path):
        raise ValueError(f"{name} is a folder where others are arrays; give folders or arrays for all")
    if isinstance(part, np.ndarray):
        return [part]
    return [np.asarray(image) for image in part]
