"""Priors on disk and in the network: fetched once, told apart, loaded to the last key or refused.

``python -m util.checkpoint`` downloads the official one and tells what a file is.
"""

from util.checkpoint.cache import locate, obtain
from util.checkpoint.known import OFFICIAL, CheckpointError
from util.checkpoint.loading import PriorInfo, load_prior, read_state_dict

__all__ = [
    "OFFICIAL",
    "CheckpointError",
    "PriorInfo",
    "load_prior",
    "locate",
    "obtain",
    "read_state_dict",
]
