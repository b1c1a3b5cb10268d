"""The figures a preset is meant to reach, checked against the records of its runs."""

from collections.abc import Iterator
from dataclasses import dataclass

from efgan.exhibits.runs import Run, Runs

# Our goals for the `mini` preset on the synthetic sets; other presets are held against the same numbers.
LEAST_R = 0.92
LEAST_CASCADE_G = 0.60
MOST_COPY_G = 0.10  # "near 0"
MOST_PSNR_LOSS = 0.3  # dB below the copy control
LEAST_G = 0.35
ATTENTION_RANGE = (0.01, 0.9)


@dataclass(frozen=True, kw_only=True)
class Goal:
    """One figure to reach: what, the goal in words, what was measured, and whether that is enough."""

    what: str
    goal: str
    measured: str
    reached: bool


def check_goals(runs: Runs, trained: list[Run]) -> list[Goal]:
    """All goals.

    Args:
        runs: where the runs are.
        trained: every run with a generator.
    """
    controls, cascade = runs.run("rafd", "controls"), runs.run("rafd", "cascade_ef_gan")
    dataset = controls.dataset
    return [
        _at_least(f"R on {dataset}", controls.metric("accuracy_R"), LEAST_R),
        _at_least(f"G of Cascade EF-GAN on {dataset}", cascade.metric("accuracy_G"), LEAST_CASCADE_G),
        _copy_goal(controls, dataset),
        _psnr_goal(controls, cascade, dataset),
        _worst("G of every method", [(_name(run), run.metric("accuracy_G") or 0.0) for run in trained]),
        _attention_goal(trained),
    ]


def _name(run: Run) -> str:
    return f"{run.experiment.method}, {run.dataset}"


def _at_least(what: str, value: float | None, least: float) -> Goal:
    measured = "not measured" if value is None else f"{value:.3f}"
    return Goal(
        what=what, goal=f"at least {least:.2f}", measured=measured, reached=value is not None and value >= least
    )


def _copy_goal(controls: Run, dataset: str) -> Goal:
    value = controls.metric("copy/accuracy_G")
    return Goal(what=f"G of the copy control on {dataset}", goal=f"near 0 (at most {MOST_COPY_G:.2f})",
                measured="not measured" if value is None else f"{value:.3f}",
                reached=value is not None and value <= MOST_COPY_G)  # fmt: skip


def _psnr_goal(controls: Run, cascade: Run, dataset: str) -> Goal:
    ours, copy = cascade.metric("psnr"), controls.metric("copy/psnr")
    what, goal = f"PSNR of Cascade EF-GAN on {dataset}", f"at most {MOST_PSNR_LOSS} dB below the copy control"
    if ours is None or copy is None:
        return Goal(what=what, goal=goal, measured="not measured", reached=False)
    return Goal(what=what, goal=goal, measured=f"{ours:.2f} dB against {copy:.2f} dB ({ours - copy:+.2f})",
                reached=ours >= copy - MOST_PSNR_LOSS)  # fmt: skip


def _worst(what: str, values: list[tuple[str, float]]) -> Goal:
    name, value = min(values, key=lambda pair: pair[1])
    return Goal(
        what=what, goal=f"at least {LEAST_G:.2f}", measured=f"least {value:.3f} ({name})", reached=value >= LEAST_G
    )


def _attention_goal(trained: list[Run]) -> Goal:
    means = list(_attentions(trained))
    low, high = ATTENTION_RANGE
    outside = [f"{name} {value:.3f}" for name, value in means if not low <= value <= high]
    spread = f"{min(v for _, v in means):.3f} to {max(v for _, v in means):.3f}" if means else "not measured"
    return Goal(what="Mean attention of every trained branch", goal=f"between {low} and {high}",
                measured=f"{spread}" + (f"; outside: {', '.join(outside)}" if outside else ""),
                reached=bool(means) and not outside)  # fmt: skip


def _attentions(trained: list[Run]) -> Iterator[tuple[str, float]]:
    for run in trained:
        for branch, value in run.metrics.get("mean_attention", {}).items():
            yield f"{_name(run)}, {branch}", float(value)
