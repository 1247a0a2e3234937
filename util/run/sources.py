"""Which pairs a run takes."""

from __future__ import annotations

import logging
from pathlib import Path

from util.files import project_root
from util.images.advice import swapped
from util.images.matching import parse_matching
from util.images.pairs import PairFiles, Problem, find_pairs
from util.images.single import given_files
from util.images.source_folders import check_named, source_folders
from util.run.places import check_file, check_places
from util.run.settings import FolderSettings

log = logging.getLogger("ddfm")


def find_sources(settings: FolderSettings) -> tuple[list[PairFiles], list[Problem], list[Path]]:
    """The pairs that are asked for, what has no partner, and the paths whose names may tell the task.

    Raises ValueError when there are none, and when a result would take the place of a source.
    """
    ir, vi, matching = settings.ir, settings.vi, parse_matching(settings.match)
    if settings.sources:
        check_named(settings.sources, ir or vi, one_folder=bool(matching.patterns))
    elif ir is not None and vi is not None and swapped(ir, vi):
        log.warning(f"{ir} is taken for infrared and {vi} for visible, but their names say the opposite")
    single = given_files(settings.sources or (ir, vi))
    if single is not None:
        if settings.output is not None and (settings.record or settings.contact_sheet):
            raise ValueError(
                "recorded steps and contact sheets lie in a folder: give --save_dir, not the name of one file"
            )
        if settings.out_layout is not None:
            raise ValueError("out_layout is for the folders of a data set: name these, not one pair")
        check_file(settings.output, settings.save_dir, single, settings.fusion.samples)
        return [single], [], [path.with_suffix("") for path in single.paths]
    if settings.output is not None:
        raise ValueError(
            f"{settings.output} is to be the result of one pair: name its files, --ir FILE and --vi FILE, or give "
            "--save_dir for the results of folders"
        )
    if settings.input == project_root() / "input" and not settings.sources and (ir is None or vi is None):
        if ir or vi:  # nobody wants them with the sample pairs
            raise ValueError(f"{ir or vi} is named without the other folder: give both --ir and --vi")
        log.info(f"no sources are named: those in {settings.input}")
    folders = tuple(settings.sources) or source_folders(settings.input, ir, vi)
    pairs, problems = find_pairs(*folders, matching=matching)
    check_places(settings.save_dir, pairs)
    return pairs, problems, list(folders)
