"""Images per second of the embedded faces' renderer: python benchmarks/render_faces.py [--identities 6] [--processes 2]

Prints one JSON line per contestant: one process, then several at once (one per core), each rendering all expressions of
its people at 128 px, identity set-up included, numba's kernels compiled beforehand.
"""

import argparse
import json
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from efgan.data.synthetic import RECIPES, render_face, sample_identity, sample_view
from efgan.data.synthetic.recipes import expression_plan


def render_people(numbers: list[int]) -> tuple[int, float, float]:
    """Renders one variant of each person; returns images, wall seconds and processor seconds."""
    recipe = RECIPES["synthetic_rafd"]
    images, wall, processor = 0, time.perf_counter(), time.process_time()
    for number in numbers:
        person, view = sample_identity(recipe.family, number), sample_view(recipe.family, number, 0)
        for _, aus in expression_plan(recipe, 0, number, 0):
            render_face(person, aus, view=view)
            images += 1
    return images, time.perf_counter() - wall, time.process_time() - processor


def main() -> None:
    """Measures one process and several."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--identities", type=int, default=6, help="people per process, 8 images each")
    parser.add_argument("--processes", type=int, default=2, help="processes at once in the second measurement")
    args = parser.parse_args()
    render_people([0])  # compiles
    for processes in dict.fromkeys((1, args.processes)):
        work = [list(range(k * args.identities, (k + 1) * args.identities)) for k in range(processes)]
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            list(pool.map(render_people, [[0]] * processes))  # imports and loads the kernels
            start = time.perf_counter()
            parts = list(pool.map(render_people, work))
            wall = time.perf_counter() - start
        images = sum(part[0] for part in parts)
        processor = sum(part[2] for part in parts)
        record = {
            "processes": processes,
            "images": images,
            "images_per_second": round(images / wall, 1),
            "images_per_processor_second": round(images / processor, 1),
        }
        print(json.dumps(record))


if __name__ == "__main__":
    main()
