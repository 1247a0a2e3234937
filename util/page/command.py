"""``python app.py`` and ``ddfm-demo``: the page in the browser."""

from __future__ import annotations

import argparse
import importlib.util
import logging
import os

from util.cli.arguments import positive
from util.logger import get_logger
from util.page.limits import Limits
from util.process import stop_on_signals

WITHOUT_GRADIO = (
    "the page needs gradio, which is not installed: pip install -r requirements-demo.txt or, for an installed "
    "project, pip install 'ddfm[demo]'"
)

log = logging.getLogger("ddfm")


def parser() -> argparse.ArgumentParser:
    usual = Limits()
    found = argparse.ArgumentParser(
        prog="app.py",
        description="Fuse images in the browser. The page is for this machine unless --host says otherwise.",
    )
    add = found.add_argument
    add("--host", default="127.0.0.1", help="address to listen at; 0.0.0.0 is all (default: 127.0.0.1)")
    add("--port", type=int, default=7860, metavar="N", help="port to listen at (default: 7860)")
    add("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    for flag, words in (
        ("--max_pixels", "of an image"),
        ("--max_megabytes", "of an uploaded file"),
        ("--max_images", "of one scene"),
        ("--max_seconds", "that a run may take"),
        ("--max_waiting", "visitors in the queue"),
        ("--max_minutes", "that uploads and results are kept"),
    ):
        name = flag.removeprefix("--max_")
        value = getattr(usual, name)
        add(
            flag,
            type=positive,
            metavar="N",
            default=value,
            help=f"{name} {words}, at most (default: {value:,})",
        )
    return found


def main(argv: list[str] | None = None) -> int:
    """Show the page until it is interrupted; the exit status: 0, or 2 when it cannot be shown."""
    args = parser().parse_args(argv)
    get_logger()
    stop_on_signals()
    if importlib.util.find_spec("gradio") is None:
        log.error(WITHOUT_GRADIO)
        return 2
    try:
        limits = Limits(**{name: getattr(args, f"max_{name}") for name in Limits.__dataclass_fields__})
        return _serve(args, limits)
    except (ValueError, OSError) as error:
        log.error(error)
        return 2


def _serve(args: argparse.Namespace, limits: Limits) -> int:
    from util.device import choose_device
    from util.page.fusing import Desk
    from util.page.store import Store
    from util.page.visit import Visits

    choose_device(args.device, None)
    store = Store(limits.minutes)
    try:
        # before it is imported: it reports home, and looks for newer versions, unless told otherwise
        os.environ.update(
            GRADIO_ANALYTICS_ENABLED="False", GRADIO_TEMP_DIR=str(store.uploads), HF_HUB_OFFLINE="1"
        )
        from util.page import layout

        page = layout.build(Visits(Desk(limits, args.device), store))
        page.launch(
            server_name=args.host, server_port=args.port, share=False, quiet=True, prevent_thread_lock=True,
            max_file_size=limits.megabytes * 1_000_000, footer_links=[], theme=layout.theme(), head=layout.head(),
            css_paths=[layout.CSS], ssr_mode=False, run_history=False, enable_monitoring=False, mcp_server=False,
        )  # fmt: skip
        log.info(f"the page is at http://{args.host}:{args.port}; Ctrl-C ends it")
        page.block_thread()
    finally:
        store.close()
    return 0
