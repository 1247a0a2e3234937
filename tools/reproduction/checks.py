"""What a fusion's numbers depend on: copies of the sources, the plain mean, the stretch, definitions, borders."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from guided_diffusion.em_released import Released
from tools.reproduction.alone import Levels, Values, em_alone, read_levels
from tools.reproduction.borders import borders
from tools.reproduction.grid import ALONE, LOCAL, Grid, Run
from util.evaluation.folders import Result, Scores, Triple, mean_of
from util.evaluation.measures.common import spatial_frequency
from util.evaluation.measures.metric_image import Image
from util.evaluation.metrics import PAPER_METRICS, evaluate, evaluate_images
from util.evaluation.published import PublishedTable
from util.evaluation.tables import printed
from util.images.levels import round_to_uint8, stretch
from util.markdown import markdown_rows

BORDER_PAIRS = 10


def tables(grid: Grid, published: Mapping[int | str, PublishedTable]) -> dict[str, Callable[[], str]]:
    """What makes the Markdown of every check, by its name, as far as the runs of ``grid`` allow it."""
    sections: dict[str, Callable[[], str]] = {
        "copies": lambda: copies(grid, published),
        "distance": lambda: distance(grid),
    }
    if grid.of("RoadScene"):
        stretched = {run: result for run, result in grid.of("RoadScene").items() if run.variant not in LOCAL}
        whole = {run: result for run, result in stretched.items() if run.limit is None}
        triples = widest(grid, "RoadScene").triples
        sections["stretch"] = lambda: stretching(whole or stretched)
        sections["definitions"] = lambda: definitions(triples)
        sections["borders"] = lambda: borders(triples[:BORDER_PAIRS])
    return sections


def widest(grid: Grid, dataset: str) -> Result:
    """The result with most images."""
    return max(grid.of(dataset).values(), key=lambda result: len(result.triples))


# Copies: what the metrics say of images that nobody would call a fusion.

COPIES: dict[str, Callable[[Values, Values], Values]] = {
    "infrared (CT, PET) itself": lambda ir, vi: ir,
    "visible (MRI) itself": lambda ir, vi: vi,
    "mean of both": lambda ir, vi: (ir + vi) / 2,
    "mean of both, stretched": lambda ir, vi: stretch((ir + vi) / 2).astype(np.float64),
    "brighter of both": np.maximum,
}


def copies(grid: Grid, published: Mapping[int | str, PublishedTable]) -> str:
    """Metrics of plain copies; bold where one reaches what the paper prints for its method."""
    parts = []
    paper = {
        name: values
        for row in published[1].rows
        if row.kind == "paper" and not row.compared
        for name, values in row.values.items()
    }
    for dataset in dict.fromkeys(name for name, _ in grid.results):
        scores: dict[str, list[Scores]] = {name: [] for name in COPIES}
        for triple in widest(grid, dataset).triples:
            _, ir, vi = read_levels(triple)
            a, b = Image(ir), Image(vi)
            for name, copy in COPIES.items():
                image = Image(round_to_uint8(copy(a.values, b.values)))
                scores[name].append(evaluate_images(image, a, b, PAPER_METRICS))
        goal = paper.get(dataset, {})
        rows = [[f"{dataset}, {len(scores['mean of both'])} pairs", *PAPER_METRICS]]
        for name, of_images in scores.items():
            mean = mean_of(of_images)
            reached = {metric: metric in goal and mean[metric] >= goal[metric] for metric in PAPER_METRICS}
            rows.append(
                [
                    name,
                    *(f"**{printed(mean[m])}**" if reached[m] else printed(mean[m]) for m in PAPER_METRICS),
                ]
            )
        if goal:
            rows.append(["*DDFM, as published*", *(printed(goal.get(metric)) for metric in PAPER_METRICS)])
        parts.append(markdown_rows(*rows))
    return "\n\n".join(parts)


# Distance: how far a result is from the plain mean, from each source and from EM alone.


def distance(grid: Grid) -> str:
    """Correlations, and what the prior changes in grey levels, for every run on every data set."""
    rows = [
        [
            "",
            "pairs",
            "r, mean",
            "r, infrared",
            "r, visible",
            "r, EM alone",
            "RMS to EM alone",
            "SF",
            "SF, EM alone",
        ]
    ]
    for (dataset, run), result in grid.results.items():
        alone = {triple.stem: triple for made in grid.alone(dataset, run.variant) for triple in made.triples}
        lines = []
        for triple in result.triples:
            fused, *both = read_levels(triple)
            ir, vi = (source.astype(np.float64) for source in both)
            line = {
                "mean": _correlation(fused, ir + vi),
                "ir": _correlation(fused, ir),
                "vi": _correlation(fused, vi),
            }
            if run.sampler != ALONE and triple.stem in alone:
                levels = read_levels(alone[triple.stem])[0]
                other = levels.astype(np.float64)
                line["alone"] = _correlation(fused, other)
                line["rms"] = float(np.sqrt(((_fit(fused, other) - other) ** 2).mean()))
                line["sf_alone"] = spatial_frequency(Image(levels))
            line["sf"] = spatial_frequency(Image(fused))
            lines.append(line)
        mean = mean_of(lines)
        cells = [f"{mean[name]:.4f}" for name in ("mean", "ir", "vi")]
        cells += [
            f"{mean[name]:.{digits}f}" if name in mean else "-" for name, digits in (("alone", 4), ("rms", 2))
        ]
        cells += [f"{mean['sf']:.2f}", f"{mean['sf_alone']:.2f}" if "sf_alone" in mean else "-"]
        rows.append([f"{dataset}, {run.label}", str(len(lines)), *cells])
    return markdown_rows(*rows)


def _correlation(x: Values | Levels, y: Values) -> float:
    return float(np.corrcoef(x.ravel(), y.ravel())[0, 1])


def _fit(x: Values | Levels, y: Values) -> Values:
    """``a x + b`` nearest to y: two stretches of one image do not differ."""
    slope, offset = np.polyfit(x.ravel(), y.ravel(), 1)
    return slope * x + offset


# The stretch of the output, and the definitions of the metrics.


def stretching(runs: Mapping[Run, Result]) -> str:
    """Metrics of the same results, stretched from minimum to maximum (as released) and between percentiles."""
    limits = {"minimum ... maximum": 0.0, "0.1 % ... 99.9 %": 0.1, "1 % ... 99 %": 1.0}
    rows = [["RoadScene", "stretched from ... to", *PAPER_METRICS]]
    for run, result in runs.items():
        scores: dict[str, list[Scores]] = {name: [] for name in limits}
        for triple in result.triples:
            fused, ir, vi = read_levels(triple)
            for name, percent in limits.items():
                low, high = np.percentile(fused, [percent, 100 - percent])
                image = round_to_uint8(np.clip((fused - low) / max(high - low, 1.0), 0, 1) * 255)
                scores[name].append(evaluate(image, ir, vi, PAPER_METRICS))
        for name, of_images in scores.items():
            mean = mean_of(of_images)
            rows.append([run.label, name, *(printed(mean[metric]) for metric in PAPER_METRICS)])
    return markdown_rows(*rows)


def definitions(triples: Sequence[Triple]) -> str:
    """The same fused images (EM alone, released) by either protocol, and not rounded to 8 bits."""
    labels = (
        "protocol ddfm",
        "protocol standard",
        "protocol ddfm, not rounded to 8 bits",
        "ddfm, not stretched",
    )
    scores: dict[str, list[Scores]] = {label: [] for label in labels}
    for triple in triples:
        _, ir, vi = read_levels(triple)
        *_, luma = em_alone(Released(), ir, vi)
        values = stretch(luma).astype(np.float64)
        rounded, a, b = Image(round_to_uint8(values)), Image(ir), Image(vi)
        exact = Image(rounded.levels, values)
        plain = Image(round_to_uint8(np.clip((luma + 1) * 127.5, 0, 255)))
        for label, image in zip(labels, (rounded, rounded, exact, plain), strict=True):
            protocol = "standard" if label == labels[1] else "ddfm"
            scores[label].append(evaluate_images(image, a, b, PAPER_METRICS, protocol))
    rows = [[f"RoadScene, {len(triples)} pairs, EM alone", *PAPER_METRICS]]
    for label, of_images in scores.items():
        mean = mean_of(of_images)
        rows.append([label, *(f"{mean[metric]:.3f}" for metric in PAPER_METRICS)])
    return markdown_rows(*rows)
