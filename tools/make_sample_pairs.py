"""Make the synthetic image pairs in ``input/`` that a fresh clone can fuse at once.

Every pair shows one modelled scene in two registered modalities: three outdoor scenes for a colour and a thermal
camera, and two heads for MRI with CT and MRI with PET. The same seed gives the same pictures.

    python -m tools.make_sample_pairs --out input
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from PIL import Image

if not __package__:
    # Run as a file, Python looks for modules beside it: let it see the repository instead.
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tools.sample_scenes import SCENES, SEED, Pair


def write_pair(pair: Pair, out: Path, stem: str) -> list[Path]:
    """Save ``pair`` as ``out/vi/stem.png`` and ``out/ir/stem.png``; returns both paths."""
    paths = []
    for folder, image in (("vi", pair.vi), ("ir", pair.ir)):
        path = out / folder / f"{stem}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path, optimize=True)
        paths.append(path)
    return paths


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Make synthetic, registered image pairs: OUT/vi/NAME.png and OUT/ir/NAME.png."
    )
    parser.add_argument(
        "--out", type=Path, default=Path("input"), help="folder that gets vi/ and ir/ (default: input)"
    )
    parser.add_argument(
        "--seed", type=int, default=SEED, help="another seed, other pictures (default: %(default)s)"
    )
    parser.add_argument(
        "--only", nargs="+", choices=list(SCENES), default=list(SCENES), metavar="NAME",
        help=f"make only these of {', '.join(SCENES)}",
    )  # fmt: skip
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    for stem in args.only:
        for path in write_pair(SCENES[stem](args.seed), args.out, stem):
            print(path)


if __name__ == "__main__":
    main()
