"""The `efgan` command: thin wrappers, one clear line per error."""

import errno
import os
import re
from pathlib import Path
from typing import Any

import click

from efgan import __version__
from efgan.errors import UserError


class OneLineErrors(click.Group):
    """Prints what a user can mend as one line on stderr and exits with code 2; anything else is a bug."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except UserError as error:
            _fail(ctx, str(error), code=2)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
                raise
            _fail(
                ctx,
                f"{error.strerror}: {error.filename or 'writing results'}; make room or choose another --root",
                code=2,
            )


def _fail(ctx: click.Context, message: str, *, code: int) -> None:
    click.echo(f"efgan: error: {' '.join(message.split())}", err=True)
    ctx.exit(code)


def _examples(*lines: str) -> str:
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def _absolute(folder: str | None) -> str | None:
    """Jobs run elsewhere, and `make DATA_ROOT=~/faces` leaves the tilde to us."""
    return str(Path(folder).expanduser().resolve()) if folder else None


@click.group(cls=OneLineErrors, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="efgan")
def main() -> None:
    """Cascade EF-GAN, reproduced: train, evaluate and draw every table and figure of the paper."""


_root = click.option("--root", type=click.Path(file_okay=False, path_type=Path), default=Path(), show_default="here",
                     help="Folder that gets results/ and figures/.")  # fmt: skip
_preset = click.option("--preset", default="mini", show_default=True, help="smoke, mini, long, slim or paper.")
_split = click.option("--split", help="identity or image; by default identity for synthetic, image for real data.")
_data_root = click.option("--data-root", type=click.Path(file_okay=False), callback=lambda *given: _absolute(given[-1]),
                          help="Folder that holds rafd/, cfeed/ and, where you have it, affectnet/.")  # fmt: skip
_family = click.option("--dataset", "family", default="synthetic", show_default=True,
                       help="synthetic (both embedded sets) or real (RaFD and CFEED under --data-root).")  # fmt: skip
_seeds = click.option("--seeds", type=int, default=1, show_default=True, help="Number of seeds, from 0.")
_jobs = click.option("--jobs", type=int, help="Notebooks at a time; by default what suits this machine.")
_profile = click.option("--profile", type=click.Path(exists=True, file_okay=False, path_type=Path),
                        help="Snakemake profile, e.g. workflow/profiles/slurm.")  # fmt: skip


def _batch_options(function: Any) -> Any:
    for option in (_profile, _root, _split, _data_root, _jobs, _seeds, _family, _preset):
        function = option(function)
    return function


@main.command(epilog=_examples("efgan reproduce", "efgan reproduce --preset smoke --jobs 2",
                               "efgan reproduce --preset paper --dataset real --data-root ~/faces",
                               "efgan reproduce --preset paper --profile workflow/profiles/slurm"))  # fmt: skip
@_batch_options
@click.pass_context
def reproduce(ctx: click.Context, **options: Any) -> None:
    """Train all methods, evaluate them, make all tables and figures, judge the claims, write the report.

    What is done is not done again; an interrupted run goes on where it stopped.
    """
    _run_batch(ctx, redraw=False, **options)


@main.command(epilog=_examples("efgan render", "efgan render --preset smoke"))
@_batch_options
@click.pass_context
def render(ctx: click.Context, **options: Any) -> None:
    """Make all tables, figures, claims and the report again (and first make what is missing)."""
    _run_batch(ctx, redraw=True, **options)


def _run_batch(ctx: click.Context, *, redraw: bool, root: Path, profile: Path | None, **options: Any) -> None:
    from efgan.batch import Batch, BatchError
    from efgan.batch import reproduce as run_batch

    # Snakemake works in `root`, so no path may be relative to here.
    batch = Batch(root=root.resolve(), profile=profile.resolve() if profile else None, **options)
    log = os.path.relpath(batch.folder / "reproduce.log")
    jobs, threads = batch.parallel
    where = f"jobs on the cluster of {profile}" if profile else f"{jobs} job(s) of {threads} thread(s)"
    click.echo(f"efgan {ctx.info_name}: {batch.family} data, preset {batch.preset}, {batch.seeds} seed(s); "
               f"{where}; log: {log}")  # fmt: skip
    try:
        report = run_batch(batch, redraw=redraw)
    except BatchError as error:
        click.echo(f"efgan: {error}", err=True)
        ctx.exit(1)
    except KeyboardInterrupt:
        click.echo("\nstopped; run the same command to go on", err=True)
        ctx.exit(130)
    click.echo(f"report: {os.path.relpath(report)}")


@main.command(epilog=_examples("efgan train local_focus", "efgan train ganimation --dataset synthetic_cfeed --seed 1"))
@click.argument("experiment")
@click.option("--dataset", default="synthetic_rafd", show_default=True, help="A dataset's name.")
@click.option("--seed", type=int, default=0, show_default=True)
@_preset
@_split
@_data_root
@_root
def train(experiment: str, root: Path, **options: Any) -> None:
    """Train EXPERIMENT into its run folder; go on where an interrupted training stopped."""
    from efgan.training.run import train_run
    from efgan.training.trainer import TrainingDivergedError

    try:
        click.echo(train_run(root=root, experiment=experiment, **options))
    except TrainingDivergedError as error:
        raise UserError(str(error)) from error


@main.command(epilog=_examples("efgan evaluate results/synthetic/mini/synthetic_rafd/ganimation/seed0"))
@click.argument("run", type=click.Path(path_type=Path))
@_split
@_data_root
def evaluate(run: Path, split: str | None, data_root: str | None) -> None:
    """Evaluate the trained RUN: metrics.json and pairs.csv in its folder. For .../controls/seed0, train the judges."""
    from efgan.evaluation.run import evaluate_experiment, find_run

    root, config = find_run(run)
    folder = evaluate_experiment(
        root=root, preset=config.preset, dataset=config.data.dataset, experiment=config.experiment, seed=config.seed,
        split=split or config.data.split, data_root=data_root or config.data.data_root,
    )  # fmt: skip
    click.echo(folder / "metrics.json")


@main.command(epilog=_examples("efgan compare results/reference results/synthetic/long"))
@click.argument("first", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("second", type=click.Path(exists=True, file_okay=False, path_type=Path))
def compare(first: Path, second: Path) -> None:
    """Say, exhibit by exhibit, whether the results in SECOND agree with those in FIRST within stated tolerances."""
    from efgan.exhibits.compare import compare_results, differing_settings, same_preset
    from efgan.paper import EXHIBITS

    first, second = same_preset(first, second)
    compared = compare_results(first, second)
    for name, differences in compared.items():
        apart = [difference for difference in differences if not difference.agrees]
        verdict = f"differs in {len(apart)} of {len(differences)} numbers" if apart else "agrees"
        click.echo(f"{EXHIBITS[name].heading}: {verdict}")
        for difference in apart:
            click.echo(f"    {difference}")
    for line in differing_settings(first, second):
        click.echo(f"other settings: {line}")
    if any(not difference.agrees for differences in compared.values() for difference in differences):
        raise click.exceptions.Exit(1)


_folder = click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
_one_set = click.option("--dataset", help="rafd, cfeed, affectnet or folder; by default what the names say.")


@main.group(epilog=_examples("efgan data check ~/faces", "efgan data openface ~/faces"))
def data() -> None:
    """Check and prepare licensed sets and other photographs."""


@data.command(epilog=_examples("efgan data check ~/faces", "efgan data check ~/Downloads/RaFD --dataset rafd"))
@_folder
@_one_set
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path("results/real/check"),
              show_default=True, help="Folder for the tables and pictures.")  # fmt: skip
def check(folder: Path, dataset: str | None, out: Path) -> None:
    """Say what is in DIR, which holds rafd/, cfeed/, affectnet/ or is one of them, and what must be mended.

    Decodes the photos into the cache, so that later commands find them there. Exits with 1 if a set is unusable.
    """
    from efgan.exhibits.dataset import check_folder

    if not check_folder(folder, dataset, out, say=click.echo):
        raise click.exceptions.Exit(1)


@data.command(epilog=_examples("efgan data openface ~/faces", "efgan data openface ~/faces --binary ~/OpenFace/bin"))
@_folder
@_one_set
@click.option("--binary", type=click.Path(path_type=Path), help="FaceLandmarkImg, FeatureExtraction or their folder; "
              "by default what is on the PATH.")  # fmt: skip
def openface(folder: Path, dataset: str | None, binary: Path | None) -> None:
    """Run your own OpenFace on the photos in DIR that it has not measured yet."""
    from efgan.data.openface_run import measure_folder

    for line in measure_folder(folder, dataset, binary):
        click.echo(line)


def _intensities(context: click.Context, option: click.Parameter, words: tuple[str, ...]) -> dict[str, float]:
    """("AU12=4", "au4=+2") → {"AU12": 4.0, "AU04": 2.0}."""
    found = {}
    for word in words:
        match = re.fullmatch(r"au(\d{1,2})=([+-]?\d+(?:\.\d*)?|[+-]?\.\d+)", word.strip(), re.IGNORECASE)
        if not match:
            raise UserError(
                f"{option.opts[0]} {word} is not understood: write an Action Unit and a number, e.g. AU12=4"
            )
        found[f"AU{int(match[1]):02d}"] = float(match[2])
    return found


@main.command(epilog=_examples("efgan edit me.jpg --expression happy", "efgan edit me.jpg --au AU12=4 --au AU25=2",
                               "efgan edit RUN group.png --face 2 --relative AU04=+2 --gif group.gif"))  # fmt: skip
@click.argument("run_and_photo", nargs=-1, required=True, metavar="[RUN] PHOTO")
@click.option("--expression", help="A preset, e.g. happy; sets all AUs.")
@click.option("--intensity", type=float, default=1.4, show_default=True,
              help="Of --expression: 0 = neutral, 1 = FACS prototype (main AUs at 3 of 5), up to 1.67.")  # fmt: skip
@click.option("--au", "aus", multiple=True, metavar="AU12=4", callback=_intensities,
              help="Set an Action Unit, 0-5; the others stay. May be repeated.")  # fmt: skip
@click.option("--relative", multiple=True, metavar="AU04=+2", callback=_intensities,
              help="Change an Action Unit by so much. May be repeated.")  # fmt: skip
@click.option("--face", help="Which face, 1 = the leftmost, or all (the default).", default="all")
@click.option("--neutral", is_flag=True, help="Take the faces as neutral instead of estimating their AUs.")
@click.option("--openface", type=click.Path(path_type=Path), help="OpenFace CSV of this photo, with AUs and landmarks.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path),
              help="Edited photo: .png (lossless), .jpg or .webp; by default PHOTO_edited.png here.")  # fmt: skip
@click.option("--gif", type=click.Path(dir_okay=False, path_type=Path), help="Also an animation: .gif or .mp4.")
@click.option("--steps", type=click.IntRange(2), default=12, show_default=True, help="Pictures of the animation.")
def edit(run_and_photo: tuple[str, ...], face: str, neutral: bool, openface: Path | None, out: Path | None,
         gif: Path | None, steps: int, **request: Any) -> None:  # fmt: skip
    """Change the expression of the faces in PHOTO, of any size, with a trained RUN.

    Without RUN, or with the word reference, the shipped Cascade EF-GAN is used. Pixels away from the faces stay as they
    are. Ask people whose photo you edit.
    """
    from efgan.data.crop import colour_profile, read_photo
    from efgan.editing.editor import load_editor
    from efgan.editing.own_aus import own_aus
    from efgan.editing.pictures import check_animation_name, save_animation
    from efgan.editing.wild import check_photo_name, edit_photo, edit_sequence, save_photo

    *runs, path = run_and_photo
    if len(runs) > 1 or not (face == "all" or face.isdecimal()):
        raise UserError("efgan edit takes one RUN at most, one PHOTO, and as --face a number or all")
    out = out or Path(f"{Path(path).stem}_edited.png")
    if Path(path).resolve() in (out.resolve(), gif and gif.resolve()):
        raise UserError(f"{path} would be overwritten by its edit: give another name to --out or --gif")
    check_photo_name(out)
    if gif:
        check_animation_name(gif)
    photo = read_photo(path)
    editor = load_editor(None if not runs or runs[0] == "reference" else runs[0])
    source_aus, landmarks = own_aus(openface, neutral=neutral)
    edited = edit_photo(editor, photo, face=None if face == "all" else int(face), landmarks=landmarks,
                        source_aus=source_aus, **request)  # fmt: skip
    written = save_photo(edited.image, out, colour_profile(path))
    click.echo(f"{written}: {len(edited.faces)} face(s); own AUs: {edited.aus_from}")
    if gif:
        click.echo(save_animation(edit_sequence(editor, edited, steps), gif, width=min(480, photo.shape[1])))


@main.command(epilog=_examples("efgan doctor"))
def doctor() -> None:
    """Say what this machine has, what is missing, and how to mend it."""
    from efgan.doctor import print_examination

    if not print_examination():
        raise click.exceptions.Exit(1)


@main.command("run-notebook", epilog=_examples("efgan run-notebook 02_train -p preset smoke -p experiment baseline"))
@click.argument("name")
@click.option("-p", "--parameter", "parameters", type=(str, str), multiple=True, metavar="NAME VALUE",
              help="A value for the notebook's parameters cell; may be repeated.")  # fmt: skip
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Executed copy.")
@click.option("--cwd", type=click.Path(exists=True, file_okay=False), help="Where it runs; by default its own folder.")
@click.option("--threads", type=int, help="CPU threads for its libraries.")
@click.option("--job", type=click.Path(dir_okay=False, path_type=Path), hidden=True,
              help="Progress file; an error is left beside it.")  # fmt: skip
def run_notebook(name: str, parameters: tuple[tuple[str, str], ...], output: Path | None, cwd: str | None,
                 threads: int | None, job: Path | None) -> None:  # fmt: skip
    """Run one notebook with the given parameters and keep the executed copy.

    NAME is a notebook of this repository (01_dataset, 02_train, ..., table_3_ablation) or a path.
    """
    from efgan.runner import run_job, run_notebook

    output = output or Path(f"{Path(name).stem}.executed.ipynb")
    if job:
        run_job(job, name, dict(parameters), output, cwd=cwd, threads=threads)
    else:
        click.echo(run_notebook(name, dict(parameters), output, cwd=cwd, threads=threads))


@main.command("write-report", hidden=True)
@_preset
@_family
@_seeds
@_root
def write_report_page(root: Path, family: str, preset: str, seeds: int) -> None:
    """Write report.html from finished runs, tables and figures."""
    from efgan.exhibits.report import write_report

    click.echo(write_report(root, family, preset, seeds=seeds))


if __name__ == "__main__":
    main()
