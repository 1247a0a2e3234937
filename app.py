"""Fuse images in the browser: ``python app.py``. See ``--help`` and docs/page.md."""

from __future__ import annotations

import sys

from util.page.command import main

if __name__ == "__main__":
    sys.exit(main())
