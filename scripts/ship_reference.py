"""Makes results/reference from finished runs: half-precision weights of every method, and a gallery of test faces.

Run it after `make reproduce`, from the folder that holds results/::

    python scripts/ship_reference.py --preset mini --root .

What a user opens with `load_editor()` and in `notebooks/edit_interactively.ipynb` is its result.
"""

import argparse
from pathlib import Path

from efgan.editing.reference import REFERENCE, ship_reference

LIMIT_MB = 40  # what a clone may weigh


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path(), help="folder that holds results/ (default: here)")
    parser.add_argument("--preset", default="mini")
    parser.add_argument("--dataset", default="synthetic_rafd")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=REFERENCE)
    args = parser.parse_args()
    paths = ship_reference(
        args.root, preset=args.preset, dataset=args.dataset, seed=args.seed, destination=args.out
    )  # fmt: skip
    megabytes = sum(path.stat().st_size for path in paths) / 1e6
    for path in paths:
        print(f"{path.stat().st_size / 1e6:8.2f} MB  {path}")
    print(f"{megabytes:8.2f} MB in all (at most {LIMIT_MB})")
    if megabytes > LIMIT_MB:
        raise SystemExit(f"{megabytes:.0f} MB are too much to ship: take a smaller preset")


if __name__ == "__main__":
    main()
