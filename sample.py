"""Fuse every pair of images in a folder: ``python sample.py``. See ``--help`` and README.md."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import shlex
import sys

from util.cli.sample_arguments import sample_parser
from util.cli.sequence_arguments import asks_sequence, check_sequence, run_sequence
from util.configs import nearest
from util.files import project_root
from util.logger import get_logger
from util.presets import Preset, preset
from util.process import print_any_name, say, stop_on_signals, undisturbed
from util.ranks import FailedElsewhere, World, join_world
from util.run.folder import check_folder, dry_run, run_folder
from util.run.record import RunRecord
from util.run.results import FOLDERS
from util.run.settings import FolderSettings

log = logging.getLogger("ddfm")


def preset_of(args: argparse.Namespace) -> Preset:
    """The configurations that the command line asks for. Raises ValueError."""
    changes = (
        "fusion_config",
        "diffusion_config",
        "model_config",
        "variant",
        "steps",
        "noise",
        "tone",
        "ir_range",
        "vi_range",
        "samples",
        "seed",
        "register",
    )
    chosen = preset(args.preset, **{name: getattr(args, name) for name in changes})
    asked = {name: getattr(args, name) for name in ("precision", "compile")}
    runtime = {name: value for name, value in asked.items() if value is not None}
    fusion = dataclasses.replace(chosen.fusion, runtime=dataclasses.replace(chosen.fusion.runtime, **runtime))
    return dataclasses.replace(chosen, fusion=fusion)


def settings_of(args: argparse.Namespace) -> FolderSettings:
    """What the command line and the files that it names ask for. Raises ValueError."""
    same = (
        "save_dir",
        "output",
        "input",
        "ir",
        "vi",
        "sources",
        "match",
        "device",
        "gpu",
        "batch_size",
        "limit",
        "record",
        "contact_sheet",
        "out_layout",
        "max_pixels",
        "overwrite",
        "quiet",
    )
    return preset_of(args).folder(
        **{name: getattr(args, name) for name in same},
        command=shlex.join(sys.argv),
    )


def start(args: argparse.Namespace, world: World) -> int:
    """Everything after the command line; returns the exit status."""
    try:
        with world.stage():
            run = check_folder(settings_of(args), world)
        if args.dry_run:
            return world.gather(dry_run(run) if world.first else 0)[0]
        record, status = run_folder(run, world)
    except FailedElsewhere as error:
        if world.first:
            log.error(error)
        world.gather(None)  # torchrun ends the others as soon as one has failed
        return 2
    except (ValueError, OSError) as error:
        log.error(error)
        return 2
    except KeyboardInterrupt:
        log.error("interrupted before the first pair")
        return 130
    if not world.first:
        return status
    with undisturbed():
        return tell(args, run.variant, record) or status


def tell(args: argparse.Namespace, variant: str, record: RunRecord) -> int:
    """Say how a run went; 1 where that cannot be said, else 0."""
    places = [args.save_dir / name for name in FOLDERS]
    if args.output is not None:
        places = [] if record.of("failed") else [args.output]
    unsaid = say(record.summary([place for place in places if place.exists()]))
    if unsaid:
        kept = f"; {record.path} has what it says" if record.path else ""
        log.error(f"the summary cannot be printed ({unsaid}){kept}")
    if variant in ("released", "paper") and record.of("done"):
        log.info(
            f"{variant} reproduces DDFM. For an image to look at, --preset local keeps the objects of one "
            "source and the details of the other at full contrast (docs/local.md)"
        )
    return 1 if unsaid else 0


def start_sequence(args: argparse.Namespace, world: World) -> int:
    """A sequence in the place of a folder; returns the exit status."""
    if world.size > 1:
        log.error("a sequence is fused by one process: start it without torchrun")
        return 2
    try:
        check_sequence(args)
        run = run_sequence(args, preset_of(args))
    except (ValueError, OSError) as error:
        log.error(error)
        return 2
    except KeyboardInterrupt:
        log.error("interrupted: the same command goes on behind the frames that are there")
        return 130
    places = [path for path in (run.folder, run.video) if path is not None]
    unsaid = say("\n".join([run.summary(), *(f"results: {path}" for path in places)]))
    if unsaid:
        log.error(f"the summary cannot be printed ({unsaid}); the frames are in {run.folder}")
    if run.stopped:
        log.error(run.stopped)
    return 1 if run.stopped or unsaid else 0


def main(argv: list[str] | None = None) -> int:
    parser = sample_parser(project_root())
    args, rest = parser.parse_known_args(argv)
    if rest:
        flags = [f"--{name}" for name in vars(args)]
        hint = nearest(rest[0], flags) or "; folders and files are named by flags, such as --input DIR"
        parser.error(f"unrecognized arguments: {' '.join(rest)}{hint}")
    try:
        world = join_world()
    except ValueError as error:
        get_logger().error(error)
        return 2
    get_logger(args.quiet, world.rank)
    stop_on_signals()
    print_any_name()
    try:
        return start_sequence(args, world) if asks_sequence(args) else start(args, world)
    finally:
        world.close()


if __name__ == "__main__":
    sys.exit(main())
