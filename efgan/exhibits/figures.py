"""Figures 1 and 3-8 in the paper's arrangement; figure 2 is drawn in `architecture.py`.

Every `figure_k` reads finished runs, writes `figure_k.png` (200 dpi) and `.pdf`, and returns the figure. Examples are
test faces picked by the rule of `Runs.examples`, never by hand, and are the same for all methods of a figure.
"""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import torch
from matplotlib.figure import Figure

from efgan.data.faces import to_float
from efgan.editing.editor import load_editor
from efgan.exhibits.architecture import draw_architecture
from efgan.exhibits.runs import Runs
from efgan.exhibits.wild import photo_triplets, wild_examples
from efgan.experiments import find_experiment, read_config
from efgan.grids import COLOURS, Box, Picture, image_grid, save_figure
from efgan.paper import DATASET_OF_ROLE, find_exhibit
from efgan.training.run import starting_dataset

# Expression changes shown, by figure (our decision: the text does not list the paper's). Wide ones come first, e.g.
# "from furious to laughing" (paper 1).
TASKS: dict[str, list[tuple[str, str]]] = {
    "figure_1": [("angry", "happy"), ("happy", "surprised")],
    "figure_2": [("angry", "happy")],
    "figure_3": [("neutral", "happy"), ("neutral", "surprised"), ("happy", "angry"), ("sad", "fearful")],
    "figure_4": [("angry", "happy"), ("surprised", "angry"), ("happy", "sad"), ("fearful", "disgusted")],
    "figure_5": [("neutral", "happy"), ("angry", "happy"), ("sad", "surprised"), ("happy", "disgusted"),
                 ("surprised", "angry")],
    "figure_5_cfeed": [("neutral", "surprised"), ("happy", "angry"), ("fearful", "happy"), ("disgusted", "sad"),
                       ("angry", "surprised")],
    "figure_6": [("neutral", "surprised"), ("angry", "happy"), ("happy", "fearful"), ("sad", "disgusted"),
                 ("surprised", "contemptuous"), ("disgusted", "neutral"), ("fearful", "angry")],
    "figure_7": [("neutral", "happy"), ("happy", "angry"), ("sad", "surprised"), ("neutral", "disgusted")],
    "figure_8": [("neutral", "happy"), ("angry", "surprised"), ("happy", "sad"), ("surprised", "disgusted"),
                 ("sad", "happy"), ("neutral", "angry")],
}  # fmt: skip
PHOTO_TASKS = ("surprised", "angry")  # of figure 8's photos
ROLES = tuple(DATASET_OF_ROLE)
STEPS = 6  # columns of figure 7 after the input; our decision
TARGET = "The target is the person's own face with that expression."
DRAWN = "Faces are drawn by seed, not by hand."
RULE = f"{DRAWN} All methods edit the same ones."


def figure_1(runs: Runs, out: Path | None = None) -> Figure:
    """Teaser: what local focuses and the cascade add, with the eyes' and mouth's focus boxes enlarged.

    Args:
        runs: where the runs are.
        out: folder for the files; `None` = `runs.figures_folder`.

    Raises:
        UserError: a run is missing; the message names the command that makes it.

    Source: paper figure 1.
    """
    experiments = {"stargan": "StarGAN", "ganimation": "GANimation", "local_focus": "EF-GAN",
                   "cascade_ef_gan": "Cascade EF-GAN"}  # fmt: skip
    examples = runs.examples("rafd", TASKS["figure_1"])
    columns = [examples.images, examples.targets, *(runs.edit("rafd", e, examples).image for e in experiments)]
    focus = runs.run("rafd", "cascade_ef_gan").editor.focus_boxes
    frames = {"eyes": COLOURS[9], "mouth": COLOURS[1]}
    rows, boxes, labels = [], [], []
    for k, label in enumerate(examples.labels):
        rows += [[column[k] for column in columns]]
        rows += [[column[k][:, *focus[region].slices] for column in columns] for region in frames]
        labels += [label, *frames]
        for row, (region, colour) in enumerate(frames.items(), start=3 * k + 1):
            boxes.append(Box(row=3 * k, column=0, colour=colour, **focus[region]._asdict()))
            boxes += [Box(row=row, column=j, top=0, left=0, height=focus[region].height, width=focus[region].width,
                          colour=colour) for j in range(len(columns))]  # fmt: skip
    figure = image_grid(
        rows, title=_title("figure_1"), boxes=boxes, row_labels=labels, row_groups=range(3, len(rows), 3),
        column_labels=["input", "target", *experiments.values()], cell=_cell(examples.images.shape[-1], 256),
        caption=_caption(runs, "figure_1", "Below each face, its eyes' and mouth's focus boxes, enlarged. EF-GAN is "
                         f"the single stage with local focuses (Baseline + Local Focuses). {RULE}"),
    )  # fmt: skip
    return _save(figure, runs, "figure_1", out)


def figure_2(runs: Runs, out: Path | None = None) -> Figure:
    """Architecture, drawn with the real intermediate images of a trained cascade.

    The stage that changes the face most is opened (our decision; the paper's drawing is of none in particular).

    Args and Raises as `figure_1`. Source: paper figure 2.
    """
    examples = runs.examples("rafd", TASKS["figure_2"])
    edit = runs.edit("rafd", "cascade_ef_gan", examples)
    editor = runs.run("rafd", "cascade_ef_gan").editor
    faces = [to_float(examples.images), *(stage.image for stage in edit.stages)]
    changes = [float((after[0] - before[0]).abs().mean()) for before, after in pairwise(faces)]
    shown = changes.index(max(changes))
    given = ", given as their difference from those before" if editor.config.model.relative_aus else ""
    caption = _caption(runs, "figure_2", "Left: the workflow; every stage edits the face of the stage before towards "
                       f"the next AUs of the Interpolator{given} (bars: the 17 AUs, 0 to 5). Right: the inside of "
                       f"stage {shown + 1}, which changes this face most. All pictures are the trained model's "
                       "own.")  # fmt: skip
    figure = draw_architecture(faces[0], examples.source_aus, edit, editor.focus_boxes, shown=shown,
                               title=_title("figure_2"), caption=caption)  # fmt: skip
    return _save(figure, runs, "figure_2", out)


def figure_3(runs: Runs, out: Path | None = None) -> Figure:
    """Local against global attention: input, edit, stitched local attention, global attention.

    Of the three stages' maps the largest value is shown at each pixel, where the whole cascade edits (our decision:
    the paper does not say which model or stage). Args and Raises as `figure_1`. Source: paper figure 3.
    """
    examples = runs.examples("rafd", TASKS["figure_3"])
    edit = runs.edit("rafd", "cascade_ef_gan", examples)
    maps = edit.strongest_attention
    local, glob = maps["local"][:, None], maps["global"][:, None]
    rows = [list(row) for row in zip(to_float(examples.images), edit.image, local, glob, strict=True)]
    limit = max(0.1, round(float(torch.cat([local, glob]).quantile(0.999)) + 0.05, 1))
    figure = image_grid(
        rows, title=_title("figure_3"), row_labels=examples.labels, map_limit=min(1.0, limit),
        column_labels=["input", "edited", "local attention\n(stitched)", "global\nattention"],
        cell=_cell(examples.images.shape[-1], 256),
        caption=_caption(runs, "figure_3", "Attention of eq. (1), at each pixel the largest of all stages: bright = "
                         f"the edit's colour, dark = the input is kept. Local maps are stitched over 0. {DRAWN}"),
    )  # fmt: skip
    return _save(figure, runs, "figure_3", out)


def figure_4(runs: Runs, out: Path | None = None) -> Figure:
    """Input, intermediate edits and final edit of large-gap pairs, and the real target beside them.

    Args and Raises as `figure_1`. Source: paper figure 4; the real target is our addition.
    """
    examples = runs.examples("rafd", TASKS["figure_4"])
    edit = runs.edit("rafd", "cascade_ef_gan", examples)
    stages = [stage.image for stage in edit.stages]
    rows = [list(row) for row in zip(to_float(examples.images), *stages, to_float(examples.targets), strict=True)]
    middle = [f"stage {k}" for k in range(1, len(stages))]
    figure = image_grid(
        rows, title=_title("figure_4"), row_labels=examples.labels, column_labels=["input", *middle, "final", "target"],
        column_groups=[("", 1), ("", len(stages)), ("", 1)], cell=_cell(examples.images.shape[-1], 256),
        caption=_caption(runs, "figure_4", f"Each stage edits the image of the stage before. {TARGET} {DRAWN}"),
    )  # fmt: skip
    return _save(figure, runs, "figure_4", out)


def figure_5(runs: Runs, out: Path | None = None, *, roles: Sequence[str] = ROLES) -> Figure:
    """Comparison with the state of the art: columns 1-5 in RaFD's role, 6-10 in CFEED's.

    Args:
        runs: where the runs are.
        out: as `figure_1`.
        roles: the sets that are shown, by the paper's dataset that they stand for.

    Raises as `figure_1`. Source: paper figure 5.
    """
    columns: list[list[Picture]] = []
    labels: list[str] = []
    for role in roles:
        examples = runs.examples(role, TASKS["figure_5" if role == "rafd" else f"figure_5_{role}"])
        edits = [runs.edit(role, e, examples).image for e in ("stargan", "ganimation", "cascade_ef_gan")]
        columns += [list(column) for column in zip(examples.images, examples.targets, *edits, strict=True)]
        labels += examples.labels
    rows = [list(row) for row in zip(*columns, strict=True)]
    groups = [(_role_heading(runs, role), 5) for role in roles]
    figure = image_grid(
        rows, title=_title("figure_5"), column_labels=labels, column_groups=groups,
        row_labels=["input", "target", "StarGAN", "GANimation", "Cascade\nEF-GAN"],
        cell=_cell(columns[0][0].shape[-1], 192),
        caption=_caption(runs, "figure_5", f"One expression change per column. {TARGET} {RULE}", roles),
    )  # fmt: skip
    return _save(figure, runs, "figure_5", out)


def figure_6(runs: Runs, out: Path | None = None) -> Figure:
    """Ablation study in RaFD's role: one expression change per column.

    Args and Raises as `figure_1`. Source: paper figure 6.
    """
    examples = runs.examples("rafd", TASKS["figure_6"])
    edits = [runs.edit("rafd", e, examples).image for e in ("baseline", "local_focus", "cascade", "cascade_ef_gan")]
    rows = [list(row) for row in (examples.images, examples.targets, *edits)]
    figure = image_grid(
        rows, title=_title("figure_6"), column_labels=examples.labels, cell=_cell(examples.images.shape[-1], 192),
        row_labels=["input", "target", "Baseline", "Baseline +\nLocal Focuses", "Baseline +\nCascade",
                    "Cascade\nEF-GAN"],
        caption=_caption(runs, "figure_6", f"One expression change per column. {TARGET} {RULE}"),
    )  # fmt: skip
    return _save(figure, runs, "figure_6", out)


def figure_7(runs: Runs, out: Path | None = None) -> Figure:
    """Continuous editing: the Interpolator's AUs at rising fractions of the way to the target.

    Args and Raises as `figure_1`. Source: paper figure 7 and 4.5.
    """
    examples = runs.examples("rafd", TASKS["figure_7"])
    editor = runs.run("rafd", "cascade_ef_gan").editor
    alphas = [k / STEPS for k in range(1, STEPS + 1)]
    rows = []
    for k in range(len(examples)):
        edited = editor.continuous(examples.images[k], examples.source_aus[k], examples.target_aus[k], alphas)
        rows.append([examples.images[k], *edited])
    figure = image_grid(
        rows, title=_title("figure_7"), row_labels=examples.labels,
        column_labels=["input", *(f"α = {alpha:.2f}" for alpha in alphas)], column_groups=[("", 1), ("", STEPS)],
        cell=_cell(examples.images.shape[-1], 192),
        caption=_caption(runs, "figure_7", "Column 1: input; then edits towards the Interpolator's AUs at the fraction "
                         f"α of the way to the target. {DRAWN}"),
    )  # fmt: skip
    return _save(figure, runs, "figure_7", out)


def figure_8(
    runs: Runs, out: Path | None = None, *, run: Path | str | None = None, photos: Sequence[Path | str] = ()
) -> Figure:
    """Wild faces in triplets: input, an image with the desired expression, edit.

    Args:
        runs: where the runs are.
        out: as `figure_1`.
        run: the model, e.g. of `cascade_ef_gan_wild`; by default the Cascade EF-GAN in RaFD's role.
        photos: files of photos; none = `skimage.data.astronaut()`.

    Raises:
        UserError: as `figure_1`; or a photo cannot be read or shows no face.

    Source: paper figure 8, which uses AffectNet; without it the faces are rendered, but for the photos.
    """
    editor = load_editor(run) if run else runs.run("rafd", "cascade_ef_gan").editor
    examples = wild_examples(editor, TASKS["figure_8"])
    cells: list[tuple[Sequence[Picture | None], str]] = []
    if examples is not None and len(examples):
        edited = editor.edit_batch(examples.images, examples.source_aus, examples.target_aus).image
        triplets = zip(to_float(examples.images), to_float(examples.targets), edited, strict=True)
        cells += zip(triplets, examples.labels, strict=True)
    own = ""
    for expression in PHOTO_TASKS:
        shown, photo = photo_triplets(editor, photos, expression)
        cells += [(triplet, f"photo\n→ {expression}") for triplet in shown]
        own = photo.aus_from
    cells += [((None, None, None), "")] * (len(cells) % 2)
    pairs = list(zip(cells[::2], cells[1::2], strict=True))
    config, experiment = editor.config, find_experiment(editor.config.experiment)
    kind = "embedded synthetic faces" if config.data.synthetic else "photographs"
    before = f", after {starting_dataset(editor.folder)}" if experiment.fine_tunes else ""
    tuned = "" if experiment.fine_tunes else " Not fine-tuned on wild images, as the paper's was (4.5)."
    budget = "" if run else f" Generator updates: {runs.run('rafd', 'cascade_ef_gan').budget}."
    shown_set = "No AffectNet that can be used." if examples is None else "Other people show the desired expression."
    if config.data.synthetic:
        shown_set = "Rendered people, light and backgrounds that are in no set, the same person with the expression."
    caption = (f"Triplets: input, image with the desired expression, edit. {shown_set} Photos "
               f"({'given' if photos else 'NASA, public domain'}) have no image of it; their AUs are those of {own}. "
               f"{experiment.method}, trained on {config.data.dataset}{before} ({kind}, {config.data.split} split, "
               f"{config.data.image_size} px), preset {config.preset}, seed {config.seed}.{tuned}{budget}")  # fmt: skip
    figure = image_grid(
        [[*left, *right] for (left, _), (right, _) in pairs], title=_title("figure_8"), caption=caption,
        column_labels=["input", "desired", "edited"] * 2, column_groups=[("", 3), ("", 3)],
        row_labels=[label for (_, label), _ in pairs], right_labels=[label for _, (_, label) in pairs],
        cell=_cell(config.data.image_size, 256),
    )  # fmt: skip
    return _save(figure, runs, figure_8_name(run), out)


def figure_8_name(run: Path | str | None) -> str:
    """File name of Figure 8 without ending: "figure_8", or with the experiment's name for a run of one's choice."""
    return "figure_8" if run is None else f"figure_8_{read_config(Path(run)).experiment}"


FIGURES = {f.__name__: f for f in (figure_1, figure_2, figure_3, figure_4, figure_5, figure_6, figure_7, figure_8)}


def _title(name: str) -> str:
    return find_exhibit(name).heading


def _caption(runs: Runs, name: str, says: str, roles: Sequence[str] = ROLES) -> str:
    return f"{says} {runs.describe(*(run for run in find_exhibit(name).runs if run[0] in roles))}"


def _save(figure: Figure, runs: Runs, name: str, out: Path | None) -> Figure:
    save_figure(figure, (out or runs.figures_folder) / name)
    return figure


def _cell(size: int, about: int) -> int:
    """Dots per picture: a whole multiple of its pixels, near `about`, so that enlarging keeps pixels regular."""
    return size * max(1, round(about / size))


def _role_heading(runs: Runs, role: str) -> str:
    name = DATASET_OF_ROLE[role]
    return f"{runs.dataset(role)} (in the role of {name})" if runs.family == "synthetic" else name
