"""Priors on disk and in the network: fetched once, told apart, loaded to the last key or refused.

What loads them, and brings torch, is in :mod:`util.checkpoint.loading`. ``python -m util.checkpoint`` downloads the
official one and tells what a file is.
"""

from util.checkpoint.cache import locate, obtain
from util.checkpoint.known import OFFICIAL, CheckpointError, PriorInfo

__all__ = [
    "OFFICIAL",
    "CheckpointError",
    "PriorInfo",
    "locate",
    "obtain",
]
