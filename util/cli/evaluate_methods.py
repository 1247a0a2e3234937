"""``evaluate.py`` for one folder of fused images, and for several methods at once."""

from __future__ import annotations

import argparse
import csv
import io
import json
import logging
from dataclasses import replace
from pathlib import Path

from util.evaluation.comparison import Comparison
from util.evaluation.folders import Evaluation, Result, Triple, find_triples
from util.evaluation.inference import PairedTest
from util.evaluation.measuring import Job, compare
from util.evaluation.methods import differing_settings, find_jobs, method_folders, source_names
from util.evaluation.origin import origin_of
from util.evaluation.problems import problem_lines
from util.evaluation.published import published_tables
from util.evaluation.tables import Table, printed, render
from util.files import write_atomically
from util.images.matching import parse_matching
from util.process import say

log = logging.getLogger("ddfm")


def dataset_name(folder: Path) -> str:
    """Of a folder of images: its own name, or that of the data set around it."""
    name = folder.resolve()
    return name.parent.name if name.name in ("recon", "color", "ir", "vi") else name.name


def measure_folder(args: argparse.Namespace) -> tuple[list[Result], int]:
    """One folder of fused images. Raises ValueError when a folder is missing or holds no image."""
    triples, problems = find_triples(args.fused, args.ir, args.vi, parse_matching(args.match))
    jobs = [Job(triple.stem, triple.ir, triple.vi, {"fused": triple.fused}) for triple in triples]
    labels = args.labels or source_names(args.ir, args.vi)
    comparison = compare(jobs, args.metrics, args.protocol, sources=labels, workers=args.workers)
    measured = comparison.methods.get("fused", {})
    problems = problems + comparison.problems.get("fused", [])
    evaluation = Evaluation(args.protocol, args.metrics, {s: m.scores for s, m in measured.items()}, problems)
    for line in problem_lines(problems):
        log.error(line)
    if not evaluation.images:
        return [], 2
    unsaid = tell("\n".join([evaluation.table(), *plain_notes(comparison)]))
    for path, content in ((args.json, evaluation.to_json), (args.csv, evaluation.to_csv)):
        if path is not None:
            write_atomically(path, content().encode(errors="backslashreplace"))
    kept = [triple for triple in triples if triple.stem in evaluation.images]
    name, origin = dataset_name(args.fused), recorded_origin(args.fused)
    return [
        Result(name, "fused", evaluation, kept, origin, labels)
    ], 1 if evaluation.problems or unsaid else 0


def tell(text: str) -> bool:
    """Print to standard output; whether that failed, which is logged."""
    unsaid = say(text)
    if unsaid:
        log.error(
            f"the table cannot be printed ({unsaid}); files that were asked for are written all the same"
        )
    return bool(unsaid)


def recorded_origin(folder: Path) -> str:
    """What made the images, by the ``run.json`` of ``sample.py`` in or above the folder; empty without one."""
    for root in (folder, folder.parent):
        try:
            return origin_of(json.loads((root / "run.json").read_text(encoding="utf-8")))[1]
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return ""


def plain_notes(comparison: Comparison) -> list[str]:
    """How far the one method is from plain fusions, and whether it is one."""
    lines = [f"Fusion {comparison.mean('fused', 'Fusion'):9.4f}"] if comparison.scales() else []
    return lines + [f"- {note}" for note in comparison.all_notes() if note.startswith(("Fusion", "fused is"))]


def compare_methods(args: argparse.Namespace) -> tuple[list[Table], list[Result], int]:
    """All methods on the same sources. Raises ValueError when a folder is missing or a name stands twice."""
    methods = dict(args.method)
    if len(methods) < len(args.method):
        raise ValueError("two of --method have the same name")
    if args.methods is not None:
        methods = {**method_folders(args.methods, args.ir, args.vi), **methods}
    like = published_tables(args.published, [args.table_like])[0] if args.table_like else None
    if like:
        methods = {name: methods[name] for name in like.in_order(methods)}
    jobs, missing = find_jobs(methods, args.ir, args.vi, args.common, parse_matching(args.match))
    labels = args.labels or source_names(args.ir, args.vi)
    comparison = compare(
        jobs,
        like.shown if like else args.metrics,
        args.protocol,
        dataset=dataset_name(args.ir),
        sources=labels,
        plain=like is None,
        workers=args.workers,
    )
    for name, problems in missing.items():
        comparison.problems.setdefault(name, []).extend(problems)
    comparison.notes += differing_settings(methods)
    for name, problems in comparison.problems.items():
        for line in problem_lines(problems):
            log.error(f"{name}: {line}")
    if not any(comparison.methods.values()):
        return [], [], 2
    tests = comparison.paired_tests(args.against) if args.against else []
    table = comparison.table()
    if like:
        table = replace(table, title=f"{like.title}, methods measured here")
    texts = [render(table, args.format)]
    texts += [intervals_text(comparison)] if args.intervals else []
    texts += [tests_text(tests, args.against)] if tests else []
    unsaid = tell("\n".join(texts))
    if args.json:
        content = {**comparison.to_dict(), "tests": [_plain(test) for test in tests], "against": args.against}
        write_atomically(args.json, (json.dumps(content, indent=2) + "\n").encode())
    if args.csv:
        write_atomically(args.csv, values_csv(comparison).encode(errors="backslashreplace"))
    failed = unsaid or any(comparison.problems.values())
    return [table], results_of(comparison, jobs), 1 if failed else 0


def results_of(comparison: Comparison, jobs: list[Job]) -> list[Result]:
    """A result for each method, as panels and report take them."""
    results = []
    for name, images in comparison.methods.items():
        scores = {stem: measured.scores for stem, measured in images.items()}
        evaluation = Evaluation(
            comparison.protocol, comparison.metrics, scores, comparison.problems.get(name, [])
        )
        triples = [
            Triple(job.stem, Path(job.fused[name]), Path(job.first), Path(job.second))  # pyright: ignore[reportArgumentType]
            for job in jobs
            if job.stem in images
        ]
        if images:
            origin = recorded_origin(triples[0].fused.parent)
            label = f"{name} [{comparison.mark(name)}]" if comparison.mark(name) else name
            results.append(Result(comparison.dataset, label, evaluation, triples, origin, comparison.sources))
    return results


def values_csv(comparison: Comparison) -> str:
    """A line for each image of each method, and one for each mean."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["method", "image", *comparison.metrics])
    for name, images in comparison.methods.items():
        for stem, measured in images.items():
            writer.writerow([name, stem, *measured.scores.values()])
        if images:
            writer.writerow([name, "mean", *(comparison.mean(name, metric) for metric in comparison.metrics)])
    return buffer.getvalue()


def _plain(test: PairedTest) -> dict[str, object]:
    change = test.difference
    interval = [change.low, change.high]
    values = {"difference": change.mean, "interval": interval, "p": test.p, "images": test.images}
    return {"method": test.method, "metric": test.metric, **values}


def intervals_text(comparison: Comparison) -> str:
    """Means with the ends of their intervals, a line each."""
    lines = ["95 % bootstrap intervals of the means over images:", ""]
    width = max(len(name) for name in comparison.methods) + 2
    for name, images in comparison.methods.items():
        for metric in comparison.metrics if images else []:
            of = comparison.interval(name, metric)
            lines.append(
                f"  {name:{width}}{metric:>12}{printed(of.mean):>9} [{printed(of.low)}, {printed(of.high)}]"
            )
    return "\n".join(lines) + "\n"


def tests_text(tests: list[PairedTest], reference: str) -> str:
    """Differences from the reference with their intervals; a star where p is below 0.05."""
    lines = [
        f"Against {reference}: mean difference over common images, 95 % interval, p of Wilcoxon's signed-rank"
    ]
    lines += [f"test after Holm's correction for all {len(tests)} tests, * below 0.05:", ""]
    width = max(len(test.method) for test in tests) + 2
    for test in tests:
        change, star = test.difference, "*" if test.p < 0.05 else ""
        lines.append(
            f"  {test.method:{width}}{test.metric:>12}{change.mean:>+9.2f} [{change.low:+.2f}, {change.high:+.2f}] "
            f"p {test.p:.2g}{star}, {test.images} images"
        )
    return "\n".join(lines) + "\n"
