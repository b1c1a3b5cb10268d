"""Makes results/reference, figures/reference and the README's results from a finished batch: half-precision weights of
the methods, a gallery of test faces, numbers and manifests of all runs, tables and small figures. What is shipped of
other presets stays.

Run it after `make reproduce`, from the folder that holds results/::

    python scripts/ship_reference.py --preset mini --root .

What a user opens with `load_editor()` and in `notebooks/edit_interactively.ipynb` is its result.
"""

import argparse
import shutil
from pathlib import Path

from efgan.editing.reference import METHODS, REFERENCE, ship_reference
from efgan.exhibits.shipped import results_block, ship_results, write_block

ROOT = Path(__file__).resolve().parents[1]
LIMIT_MB, WEIGHTS_MB = 60, 40  # what a clone may weigh


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path(), help="folder that holds results/ (default: here)")
    parser.add_argument("--preset", default="mini")
    parser.add_argument("--dataset", default="synthetic_rafd")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--methods", nargs="*", choices=METHODS, default=METHODS,
                        help="whose weights are shipped (default: all)")  # fmt: skip
    parser.add_argument("--partial", action="store_true", help="some runs and exhibits of the batch are wanting")
    args = parser.parse_args()
    made = REFERENCE.with_name(f"{REFERENCE.name}.new")  # takes the old one's place when it is whole
    shutil.rmtree(made, ignore_errors=True)
    shutil.copytree(REFERENCE, made)  # other presets stay
    shutil.rmtree(made / "synthetic" / args.preset, ignore_errors=True)
    figures = Path("figures", "reference", args.preset)
    ship_reference(args.root, preset=args.preset, dataset=args.dataset, seed=args.seed, methods=args.methods,
                   destination=made)  # fmt: skip
    drawn = made / "figures"
    ship_results(args.root, preset=args.preset, destination=made, figures=drawn, whole=not args.partial)
    sizes = {path.relative_to(made): path.stat().st_size / 1e6 for path in sorted(made.rglob("*")) if path.is_file()}
    for path, megabytes in sizes.items():
        print(f"{megabytes:8.2f} MB  {path}")
    weights = sum(megabytes for path, megabytes in sizes.items() if path.suffix == ".safetensors")
    total = sum(sizes.values())
    print(f"{total:8.2f} MB in all (at most {LIMIT_MB}), {weights:.2f} MB of it weights (at most {WEIGHTS_MB})")
    if total > LIMIT_MB or weights > WEIGHTS_MB:
        raise SystemExit("this is too much to ship: take a smaller preset, or fewer --methods")
    shutil.rmtree(ROOT / figures, ignore_errors=True)
    drawn.rename(ROOT / figures)
    shutil.rmtree(REFERENCE)
    made.rename(REFERENCE)
    block = results_block(REFERENCE / "synthetic" / args.preset, figures.as_posix(), ROOT)
    write_block(ROOT / "README.md", args.preset, block)


if __name__ == "__main__":
    main()
