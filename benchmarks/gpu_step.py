"""Times the training of every method at the paper's size on a GPU, in fp32 and in bf16.

Random faces: the time does not depend on what is in the pictures. Writes one row per method and precision: iterations
per second, the highest memory in use, and the hours of the training that the `paper` preset asks for.

    python benchmarks/gpu_step.py [--steps 5] [--out OUT.csv]
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import pandas as pd
import torch
from training_step import random_faces

from efgan.config import RunConfig
from efgan.data.batches import BatchSampler
from efgan.experiments import EXPERIMENTS, run_config
from efgan.models.local_focus import compute_focus_boxes
from efgan.training.run import build_networks
from efgan.training.trainer import Trainer

LANDMARKS = torch.full((1, 68, 2), 64.0)  # all in the middle: a focus box costs the same wherever it lies


def build_trainer(config: RunConfig, precision: str, folder: Path, device: torch.device) -> Trainer:
    """The trainer of a run with random weights, a cascade's too: its first step costs what any other does."""
    train = config.train
    cascaded = EXPERIMENTS[config.experiment].cascaded
    faces = random_faces(64).to(device)
    boxes = compute_focus_boxes(LANDMARKS, config.data.image_size)
    generator, critic, objective = build_networks(config, faces, boxes, device)
    rng = torch.Generator().manual_seed(0)
    batch_size = train.cascade_batch_size if cascaded else train.batch_size
    sampler = BatchSampler(faces, batch_size=batch_size, target_noise=train.target_noise, rng=rng, classed_only=False)
    return Trainer(
        generator=generator, critic=critic, objective=objective, sampler=sampler, rng=rng, config=train,
        iterations=train.cascade_iterations if cascaded else train.iterations, learning_rate=1e-4, folder=folder,
        precision=precision,
    )  # fmt: skip


def measure(config: RunConfig, precision: str, steps: int, device: torch.device) -> dict[str, object]:
    """One row of the table: the median of so many steps, after five until the CUDA graph is captured and warm."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    with tempfile.TemporaryDirectory() as folder:
        trainer = build_trainer(config, precision, Path(folder), device)
        seconds = []
        for _ in range(steps + 5):
            start = time.perf_counter()
            trainer.step()
            torch.cuda.synchronize()
            seconds.append(time.perf_counter() - start)
    step, memory = statistics.median(seconds[5:]), torch.cuda.max_memory_allocated() / 2**30
    return {
        "method": EXPERIMENTS[config.experiment].method, "precision": precision, "batch": trainer.sampler.batch_size,
        "iterations_per_second": round(1 / step, 2), "peak_memory_gib": round(memory, 1),
        "iterations": trainer.iterations, "hours": round(step * trainer.iterations / 3600, 2),
    }  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--out", type=Path, help="the table as CSV")
    options = parser.parse_args()
    trained = [e.name for e in EXPERIMENTS.values() if e.trains and "rafd" in e.roles]
    rows = []
    for precision in ("fp32", "bf16"):
        for experiment in trained:
            config = run_config("paper", "synthetic_rafd", experiment, 0)
            rows.append(measure(config, precision, options.steps, torch.device("cuda")))
            print(*rows[-1].values(), sep="\t", flush=True)
    if options.out:
        pd.DataFrame(rows).to_csv(options.out, index=False)
