"""Makes results/reference, figures/reference and the README's results from a finished batch: half-precision weights of
every method, a gallery of test faces, numbers and manifests of all runs, tables and small figures.

Run it after `make reproduce`, from the folder that holds results/::

    python scripts/ship_reference.py --preset mini --root .

What a user opens with `load_editor()` and in `notebooks/edit_interactively.ipynb` is its result.
"""

import argparse
import shutil
from pathlib import Path

from efgan.editing.reference import REFERENCE, ship_reference
from efgan.exhibits.shipped import results_block, ship_results, write_block

ROOT = Path(__file__).resolve().parents[1]
FIGURES = ROOT / "figures" / "reference"
LIMIT_MB = 60  # what a clone may weigh


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path(), help="folder that holds results/ (default: here)")
    parser.add_argument("--preset", default="mini")
    parser.add_argument("--dataset", default="synthetic_rafd")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=REFERENCE)
    args = parser.parse_args()
    made = args.out.with_name(f"{args.out.name}.new")  # takes the old one's place when it is whole
    paths = ship_reference(args.root, preset=args.preset, dataset=args.dataset, seed=args.seed, destination=made)
    paths += ship_results(args.root, preset=args.preset, destination=made, figures=FIGURES)
    for path in paths:
        print(f"{path.stat().st_size / 1e6:8.2f} MB  {path.name}")
    megabytes = sum(path.stat().st_size for path in paths) / 1e6
    print(f"{megabytes:8.2f} MB in all (at most {LIMIT_MB})")
    if megabytes > LIMIT_MB:
        raise SystemExit(f"{megabytes:.0f} MB are too much to ship: take a smaller preset")
    shutil.rmtree(args.out, ignore_errors=True)
    made.rename(args.out)
    write_block(ROOT / "README.md", results_block(args.out / "synthetic" / args.preset, "figures/reference"))


if __name__ == "__main__":
    main()
