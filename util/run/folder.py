"""A folder of pairs fused: what ``sample.py`` does, callable."""

from __future__ import annotations

import dataclasses
import functools
import logging
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from guided_diffusion.fusion_config import FusionConfig
from guided_diffusion.gaussian_diffusion import GaussianDiffusion
from guided_diffusion.local.em import LocalFast
from guided_diffusion.local.weights import task_of_names
from guided_diffusion.rectification import is_stretched
from guided_diffusion.samplers import SAMPLERS, with_eta
from guided_diffusion.samples import check_samples
from util.allocator import keep_freed_memory
from util.checkpoint import obtain
from util.device import device_label
from util.files import project_root
from util.images.pairs import PairFiles, Problem, listed, load_pair, source_names
from util.images.ranges import sequence_range
from util.images.registration.search import check_register
from util.prior import choose_prior, open_prior
from util.process import undisturbed
from util.ranks import World
from util.run.contact_sheet import write_contact_sheet
from util.run.fusing import batch_fuser
from util.run.options import RunOptions
from util.run.record import OnEvent, RunRecord
from util.run.recording import recorder_of
from util.run.results import ResultWriter, start_record
from util.run.runner import Runner
from util.run.settings import FolderRun, FolderSettings
from util.run.shared_run import SharedRun
from util.run.shares import share_pairs
from util.run.sources import find_sources
from util.version import versions

log = logging.getLogger("ddfm")


def fuse_folder(settings: FolderSettings, on_event: OnEvent | None = None) -> RunRecord:
    """Fuse every pair of a folder; results and ``run.json`` go below ``save_dir``.

    ``on_event`` is told of every step (:class:`~util.run.record.StepDone`) and of every pair as it ends
    (:class:`~util.run.record.PairRecord`). A bad pair fails alone: the record tells of each, and by ``exit_status``
    of the whole. Raises ValueError or OSError before the first pair when the run as a whole cannot be.
    """
    world = World()
    return run_folder(check_folder(settings, world), world, on_event)[0]


def check_folder(settings: FolderSettings, world: World) -> FolderRun:
    """Check everything that can be wrong before the first pair, and open the prior. Raises ValueError or OSError."""
    if keep_freed_memory():
        log.info("freed memory is kept for the next layer")
    fusion, device = settings.fusion, world.device(settings.device, settings.gpu)
    sampler = with_eta(SAMPLERS[settings.diffusion.sampler], fusion.eta)
    check_samples(
        fusion.samples,
        fusion.prior is not False,
        SAMPLERS[settings.diffusion.sampler] if fusion.prior is True else None,
        fusion.eta,
    )
    check_register(fusion.register)
    diffusion = GaussianDiffusion.from_config(settings.diffusion)
    pairs, problems, names = find_sources(settings)
    fusion.check_count(len(names))
    if settings.out_layout is not None:
        if len(names) > 2:
            raise ValueError("out_layout is for the two sources of a pair, whose place the result takes")
        if settings.out_layout == "ir" and fusion.register != "off":
            raise ValueError(
                "out_layout ir goes without register, which brings results onto the visible images"
            )
        fusion = dataclasses.replace(fusion, fit="pad")
        log.info("fit: pad, for in the layout of the data set results have the size of their sources")
    fusion = with_ranges(with_task(fusion, names), pairs, settings.max_pixels, world)
    prior = None
    description: dict[str, Any] = {"prior": None, "model_config": None, "precision": "fp32"}
    if fusion.prior:
        _, model_config = choose_prior(settings.model_config, project_root())
        with world.stage():
            if world.local_rank == 0:  # a remote checkpoint is fetched once
                obtain(model_config.model_path, project_root())
        prior = open_prior(
            settings.model_config, diffusion=settings.diffusion, runtime=fusion.runtime, device=device
        )
        description = prior.describe()
    else:
        log.info("no prior (prior: false): the rectification alone")
    # what was chosen, not what was asked for: auto and its outcome make the same images
    chosen = {"precision": description["precision"], "compile": prior is not None and prior.execution.compile}
    fusion = dataclasses.replace(fusion, runtime=dataclasses.replace(fusion.runtime, **chosen))
    description |= {
        "diffusion_config": dataclasses.asdict(settings.diffusion),
        "fusion_config": fusion.describe(),
        "device": device_label(device),
        "versions": versions(),
    }
    run = FolderRun(
        settings, fusion, device, prior, diffusion, sampler, pairs[: settings.limit], problems, description
    )
    log.info(
        f"{device_label(device)}, {chosen['precision']}, seed {fusion.seed}, {run.told_steps}, "
        f"EM {run.variant}, fit {fusion.fit}{f', {fusion.samples} samples of each' * (fusion.samples > 1)}"
    )
    return run


def run_folder(run: FolderRun, world: World, on_event: OnEvent | None = None) -> tuple[RunRecord, int]:
    """Fuse everything; the record, and the exit status, the same on every process of ``world``.

    Only on the first process does the record tell of the pairs of all. Raises ValueError before the start.
    """
    settings, config = run.settings, run.fusion
    with world.stage():
        description = {"command": settings.command, **run.description}
        kept = world.first and settings.output is None  # one file tells all by itself
        record = start_record(settings.save_dir, description) if kept else RunRecord(None, {})
        layout = run.layout
        if layout is not None and world.first:
            layout.link_labels(run.pairs[0])
    writer = ResultWriter(
        settings.save_dir,
        run.description,
        config.fit,
        config.color,
        config.color_method,
        is_stretched(config.em),
        settings.output,
        config.samples,
        settings.record_form
        and recorder_of(settings.record_form, settings.save_dir / "progress", config.color_method),
        config.noise,
        layout,
    )
    divide = functools.partial(
        share_pairs, writer=writer, overwrite=settings.overwrite, steps=run.steps * bool(settings.record)
    )
    shared = SharedRun(world, record, run.pairs, run.problems, divide)
    options = RunOptions(
        steps=run.steps * config.samples,
        fit=config.fit,
        ranges=run.ranges,
        max_pixels=settings.max_pixels,
        register=config.register,
        batch_size=settings.batch_size,
        memory_share=0.5 / world.local_size if run.device.type == "cpu" else math.inf,
        elsewhere=shared.elsewhere,
        overwrite=settings.overwrite,
        record_steps=run.steps * bool(settings.record),
        quiet=settings.quiet or not world.first,
    )
    runner = Runner(batch_fuser(run), writer, shared.record, options, shared.inbox, on_event)
    runner.run(shared.pairs, shared.problems)
    if world.first:
        with undisturbed():
            shared.complete()
        if settings.contact_sheet:
            add_contact_sheet(record, run)
    with undisturbed():
        return record, shared.exit_status()


def add_contact_sheet(record: RunRecord, run: FolderRun) -> None:
    """The page with all results; that it cannot be written costs no image, but is told."""
    try:
        record.sheets = write_contact_sheet(
            run.settings.save_dir, record, run.pairs, run.ranges, run.settings.max_pixels
        )
    except OSError as error:
        record.sheet_problem = f"it cannot be written ({error.strerror or error})"
    except KeyboardInterrupt:
        record.sheet_problem = "interrupted"


def dry_run(run: FolderRun) -> int:
    """Say what would be done, having opened every image; returns the exit status."""
    failed = list(run.problems)
    for files in run.pairs:
        try:
            load_pair(files, run.ranges, run.settings.max_pixels, run.fusion.register == "off")
            log.info(f"would fuse {listed([str(path) for path in files.paths])}")
        except ValueError as error:
            failed.append(Problem(files.stem, str(error)))
    for problem in failed:
        log.error(f"{problem.stem}: {problem.reason}")
    count = len(run.pairs) + len(run.problems) - len(failed)
    log.info(
        f"{count} of {count + len(failed)} can be fused, into {run.settings.output or run.settings.save_dir}"
    )
    return 1 if failed else 0


def with_ranges(
    config: FusionConfig, pairs: list[PairFiles], max_pixels: int | None, world: World
) -> FusionConfig:
    """``config`` with the range of a source's images where it is ``sequence``; None where none has over 8 bits."""
    wanted = config.source_ranges(len(pairs[0].paths))
    found = list(wanted)
    for place, name in enumerate(source_names(len(wanted))):
        if wanted[place] == "sequence":
            paths = [files.paths[place] for files in pairs]
            values = world.gather(sequence_range(paths, max_pixels) if world.first else None)[0]
            found[place] = None if values is None else list(values)
            said = "none has more than 8 bits" if values is None else f"{values[0]:g} to {values[1]:g}"
            called = f"{name}_range" if len(wanted) == 2 else f"range {name}"
            log.info(f"{called} of {len(paths)} images: {said}")
    return config if found == wanted else config.with_ranges(found)


def with_task(config: FusionConfig, sources: Iterable[Path]) -> FusionConfig:
    """``config`` with the task of local fusion that the names of the sources tell, where it is ``auto``."""
    em = config.em
    if not isinstance(em, LocalFast) or em.task != "auto":
        return config
    found = task_of_names([part for source in sources for part in source.parts[-2:]])
    if found is None:
        log.info("task: by what each image shows, as the names of the sources tell none")
        return config
    log.info(f"task: {found[0]}, for the name of a source has {found[1]}")
    return dataclasses.replace(config, em=dataclasses.replace(em, task=found[0]))
