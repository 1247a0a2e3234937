"""The command line of ``sample.py``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import get_args

from guided_diffusion.rectification import RECTIFICATIONS
from util.cli.arguments import batch_size, grey_levels, matching, positive, value_range
from util.cli.result_arguments import add_results
from util.cli.sequence_arguments import add_sequence_arguments
from util.images.registration.search import Register
from util.presets import DEFAULT, presets
from util.version import __version__

_EPILOG = """\
torchrun --standalone --nproc-per-node N -- sample.py ... shares the pairs out over N processes, each with a CUDA
device, or a part of the cores, of its own

exit status: 0 all pairs are fused; 1 some failed, the others are done, or the summary could not be printed;
2 nothing was started; 130 interrupted (torchrun: 0 or 1)
"""


def _seed(text: str) -> int:
    number = int(text)
    if not 0 <= number < 2**63:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from 0 to 2^63 - 1")
    return number


def _preset_lines() -> str:
    return "\n".join(f"  {name:14} {files.about}" for name, files in presets().items())


def _is_clone(root: Path) -> bool:
    """Whether the project lies in a folder of its own, not among the packages of an installation."""
    return (root / "sample.py").is_file()


def sample_parser(root: Path) -> argparse.ArgumentParser:
    """The parser; default paths lie in ``root``, the folder of the project."""
    parser = argparse.ArgumentParser(
        prog="sample.py",
        description="Fuse every pair of images of the same name in DIR/ir and DIR/vi, or one pair of files.",
        epilog=f"presets:\n{_preset_lines()}\n\n{_EPILOG}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    published = parser.add_argument_group("flags of the published script")
    published.add_argument(
        "--model_config",
        metavar="YAML",
        help="the prior (default: configs/model_config_imagenet.yaml, the official prior, if its "
        "checkpoint lies in models/; otherwise configs/model_config_compact.yaml). Each of the configurations can be "
        "given by its name: compact",
    )
    published.add_argument(
        "--diffusion_config",
        metavar="YAML",
        help="the sampler and its steps (default: that of --preset, configs/diffusion_config.yaml)",
    )
    published.add_argument(
        "--gpu",
        type=int,
        metavar="N",
        help="CUDA device N, or the CPU where there is no CUDA (default: not given, --device decides)",
    )
    where = published.add_mutually_exclusive_group()
    where.add_argument(
        "--save_dir",
        type=Path,
        metavar="DIR",
        # not among the packages, when that is where the project lies
        default=(root if _is_clone(root) else Path()) / "output",
        help="folder for the results (default: output; once installed, in the working directory)",
    )
    where.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        help="one PNG file for the result of one pair, in colour where a source has some; nothing else is written, "
        "but for the spread of --samples beside it (default: not given, results go to --save_dir)",
    )
    _add_method(parser)
    add_sequence_arguments(parser)
    ours = parser.add_argument_group("more flags")
    ours.add_argument(
        "--input",
        type=Path,
        metavar="DIR",
        default=root / "input" if _is_clone(root) or not Path("input").is_dir() else Path("input"),
        help="folder that holds the folders ir and vi, or a data set as it is distributed: MSRS, M3FD, RoadScene, "
        "TNO, LLVIP, Harvard (default: input; once installed, that in the working directory or, where there is none, "
        "the sample pairs that come with the project)",
    )
    ours.add_argument(
        "--ir",
        type=Path,
        metavar="PATH",
        help="folder of infrared, CT, PET or SPECT images, or one such image (default: ir in --input)",
    )
    ours.add_argument(
        "--vi",
        type=Path,
        metavar="PATH",
        help="folder of visible or MRI images, or the image that goes with --ir (default: vi in --input)",
    )
    ours.add_argument(
        "--sources",
        type=Path,
        nargs="+",
        metavar="PATH",
        default=(),
        help="2 to 8 folders of images of the same scenes, or files of one, in place of --ir and --vi: more than two "
        "for local and local_fast alone, as stacks of focus or exposure (default: none)",
    )
    ours.add_argument(
        "--match",
        type=matching,
        metavar="RULE",
        default="stem",
        help="which files belong together: those of one stem; index: those at one place in the order of names; or a "
        "pattern for each folder, such as 'thermal_*=rgb_*', whose star names the result (default: stem)",
    )
    ours.add_argument(
        "--ir_range",
        type=value_range,
        metavar="LO,HI",
        help="values of infrared images of more than 8 bits that become black and white (--ir_range=-5,40 where the "
        "first is negative), or sequence: one range for all of them (default: that of --fusion_config, percentiles "
        "of each image)",
    )
    ours.add_argument(
        "--vi_range", type=value_range, metavar="LO,HI", help="the same of visible images (default: the same)"
    )
    ours.add_argument(
        "--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto, CUDA where there is one)"
    )
    ours.add_argument(
        "--precision",
        choices=["auto", "fp32", "tf32", "bf16", "fp16"],
        help="of the prior's convolutions; auto: fp32, or fp16 on CUDA where the model's YAML says use_fp16 "
        "(default: that of --fusion_config, auto)",
    )
    ours.add_argument(
        "--compile",
        action=argparse.BooleanOptionalAction,
        help="run the prior through torch.compile, one graph for each size (default: that of --fusion_config, off)",
    )
    ours.add_argument(
        "--batch_size",
        type=batch_size,
        metavar="N",
        default=1,
        help="pairs of one size that go through the prior together, or auto: doubled from 1 on while that saves at "
        "least 5 %% of the time per pair; halved when memory runs out, in either case (default: 1)",
    )
    add_results(ours)
    ours.add_argument(
        "--overwrite",
        action="store_true",
        help="fuse a pair again even if its result is there, made from the same files by the same "
        "configuration (default: off, such a pair is skipped)",
    )
    ours.add_argument(
        "--max_pixels",
        type=positive,
        metavar="N",
        help="images with more pixels are not opened (default: 89,478,485, Pillow's limit)",
    )
    ours.add_argument("--limit", type=positive, metavar="N", help="only the first N pairs (default: all)")
    ours.add_argument(
        "--dry_run",
        action="store_true",
        help="check everything, say what would be done, fuse nothing (default: off)",
    )
    ours.add_argument(
        "--quiet", action="store_true", help="only warnings, errors and the summary (default: off)"
    )
    ours.add_argument("--version", action="version", version=f"DDFM {__version__}")
    return parser


def _add_method(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("how pairs are fused").add_argument
    add(
        "--preset",
        metavar="NAME",
        default=DEFAULT,
        help="configurations that belong together, from the list below; a file that is given beside it takes the "
        f"place of the one of its kind (default: {DEFAULT})",
    )
    add(
        "--fusion_config",
        metavar="YAML",
        help="the rectification, seed, sizes and colour (default: that of --preset, configs/fusion_config.yaml)",
    )
    add(
        "--variant",
        choices=list(RECTIFICATIONS),
        help="the rectification, with its own defaults for what the configuration does not change (default: that of "
        "--fusion_config, released)",
    )
    add(
        "--steps",
        type=positive,
        metavar="N",
        help="that a pair takes: evaluations of the prior or, where it does not fuse, iterations (default: those of "
        "the configurations, 100)",
    )
    add(
        "--noise",
        type=grey_levels,
        metavar="LEVELS",
        help="taken off the sources before the fusion: auto, off, or a standard deviation in grey levels for each, "
        "such as 20,0 (default: that of --fusion_config, off)",
    )
    add(
        "--tone",
        type=float,
        metavar="T",
        help="of local and local_fast, 0 (levels as they are) to 1: how strongly levels are spread (default: that of "
        "--fusion_config, 0.2 for infrared and visible pairs, else 0)",
    )
    add(
        "--samples",
        type=positive,
        metavar="K",
        help="draw K samples, and write their mean and, in uncertainty/, their spread; see docs/samples.md "
        "(default: that of --fusion_config, 1)",
    )
    add(
        "--register",
        choices=get_args(Register),
        help="bring the infrared image onto the visible one, of any size; auto: where they do not fit (default: off)",
    )
    add("--seed", type=_seed, metavar="N", help="seed of every pair (default: that of --fusion_config, 3407)")
