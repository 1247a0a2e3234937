"""``python -m util.checkpoint``: download a prior, or tell what a file is."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from pathlib import Path

from util.checkpoint.cache import fetch
from util.checkpoint.examine import examine
from util.checkpoint.known import OFFICIAL, CheckpointError
from util.checkpoint.remote import DownloadError, file_name, is_remote
from util.files import file_sha256, project_root
from util.logger import get_logger
from util.process import print_any_name, say

ROOT = project_root()

log = logging.getLogger("ddfm")


def parser() -> argparse.ArgumentParser:
    """The command line of both commands."""
    main_parser = argparse.ArgumentParser(
        prog="python -m util.checkpoint",
        description="Download a prior, or tell what a checkpoint file is.",
        epilog="exit status: 0 done, all files are usable; 1 not; 130 interrupted (the same command goes on)",
    )
    commands = main_parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    download = commands.add_parser(
        "download",
        help="fetch a prior into models/",
        description="Fetch a prior: resumed where it stopped, checked, and there only when it is whole.",
    )
    download.add_argument(
        "url",
        nargs="?",
        metavar="URL",
        default=OFFICIAL.url,
        help="https://, http://, az:// or gs:// (default: the official prior, 2.2 GB)",
    )
    download.add_argument(
        "--to", type=Path, metavar="DIR", default=ROOT / "models", help="folder (default: models)"
    )
    download.add_argument("--quiet", action="store_true", help="only warnings and errors (default: off)")
    verify = commands.add_parser(
        "verify",
        help="tell what a file is",
        description="Tell what a file is: its kind, architecture, hash, and which shipped configuration fits.",
    )
    verify.add_argument("files", nargs="+", type=Path, metavar="FILE")
    return main_parser


def run_download(url: str, folder: Path) -> int:
    """Fetch ``url`` into ``folder``; returns the exit status."""
    try:
        if not is_remote(url):
            raise DownloadError(f"{url} is no address (https://, http://, az:// or gs://)")
        target = folder / file_name(url)
        new = fetch(url, target)
        digest = file_sha256(target)
        if target.name == OFFICIAL.name and digest != OFFICIAL.sha256:
            raise CheckpointError(
                f"{target} is there, but is not the published file (sha256 {digest}): move it away and start again"
            )
        log.info(f"{target} {'is whole' if new else 'was there already'}, sha256 {digest}")
        if target.name == OFFICIAL.name:
            log.info("this is the official prior")
        return 0
    except (ValueError, OSError) as error:
        log.error(error)
        return 1


def run_verify(files: list[Path]) -> int:
    """Report on every file; returns the exit status."""
    problems = 0
    for path in files:
        report = examine(path, ROOT / "configs")
        unsaid = say(report.text())
        if report.problem or unsaid:
            log.error(report.problem or f"what {path} is cannot be printed: {unsaid}")
            problems += 1
    return 1 if problems else 0


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    print_any_name()
    get_logger(args.command == "download" and args.quiet)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return run_download(args.url, args.to) if args.command == "download" else run_verify(args.files)
    except KeyboardInterrupt:
        log.error("interrupted; the same command goes on where this one stopped")
        return 130


if __name__ == "__main__":
    sys.exit(main())
