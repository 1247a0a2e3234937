"""The console scripts of an installed project."""

from __future__ import annotations


def fuse_command() -> int:
    """``ddfm-fuse``: as ``python sample.py``."""
    import sample  # here: each command starts with what it needs alone

    return sample.main()


def evaluate_command() -> int:
    """``ddfm-evaluate``: as ``python evaluate.py``."""
    import evaluate

    return evaluate.main()


def demo_command() -> int:
    """``ddfm-demo``: as ``python app.py``."""
    from util.page import command

    return command.main()
