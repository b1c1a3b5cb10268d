"""What a run looks at: its stages, a sweep of one Action Unit, attention per expression, and its way through AU space.

The quantitative side of the paper's figure 3, for any run; all choices here are our decision.
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from sklearn.decomposition import PCA
from torch import Tensor

from efgan.data import load_faces
from efgan.data.action_units import AU_NAMES, MAX_INTENSITY
from efgan.data.faces import FaceSet
from efgan.data.splits import split_faces
from efgan.editing.attention import attention_mass, colour_limit, stage_maps
from efgan.editing.edit_state import label_of
from efgan.editing.editor import Editor
from efgan.editing.session import EditSession
from efgan.errors import UserError
from efgan.evaluation.protocol import evaluation_pairs, target_aus
from efgan.exhibits.runs import plain
from efgan.experiments import find_experiment
from efgan.grids import COLOURS, Box, Picture, image_grid, new_figure, styled
from efgan.models.interpolator import StraightLine

BRANCHES = {"local": "local (stitched)", "global": "global"}
FRAMES = {"eyes": COLOURS[9], "nose": COLOURS[2], "mouth": COLOURS[1]}


@dataclass(frozen=True, kw_only=True)
class AttentionMeans:
    """Mean attention of a run's edits of test faces, by the expression they are edited to.

    Attributes:
        editor: the run.
        natural: the training faces with an expression, whose AUs an Interpolator learns from.
        maps: S×S in [0, 1] by (expression, "local" or "global").
        counts: edits by expression.
    """

    editor: Editor
    natural: FaceSet
    maps: dict[tuple[str, str], Tensor]
    counts: dict[str, int]

    def table(self) -> pd.DataFrame:
        """Per cent of each branch's attention inside each focus box, and its mean; one row per expression and branch.

        Boxes overlap a little: what lies in two of them counts in both.
        """
        rows = [
            {"target": plain(expression), "branch": branch, "edits": self.counts[expression],
             "mean attention": float(values.mean()),
             **{f"{region} %": 100 * share for region, share in
                attention_mass(values, self.editor.focus_boxes).items()}}
            for (expression, branch), values in self.maps.items()
        ]  # fmt: skip
        return pd.DataFrame(rows).round(3)


def stages_figure(session: EditSession) -> Figure:
    """Everything inside the session's edit, one row per stage; maps share one colour scale.

    Raises:
        UserError: StarGAN, which has no attention.
    """
    stages = stage_maps(session.edited(), session.editor().focus_boxes)
    columns = [stage.columns for stage in stages]
    labels = []
    for k, stage in enumerate(columns, start=1):
        means = [f"{name.split(':')[0].split(chr(39))[0]} {values.mean():.2f}" for name, values in stage.items()
                 if values.ndim == 2]  # fmt: skip
        labels.append("\n".join([*([f"stage {k}"] if len(columns) > 1 else []), *means]))
    headings = [name.replace(": ", ":\n").replace("initial ", "initial\n").replace("s change", "s\nchange")
                for name in columns[0]]  # fmt: skip
    return image_grid(
        [list(stage.values()) for stage in columns], row_labels=labels, column_labels=headings, cell=192,
        map_limit=colour_limit([values for stage in columns for values in stage.values() if values.ndim == 2]),
        title=f"{_method(session.editor())}, stage by stage",
        caption=f"Numbers: the mean of each map. {_words(session.editor())}",
    )  # fmt: skip


def sweep_figure(session: EditSession, code: str, values: tuple[float, ...] = (0, 1, 2, 3, 4, 5)) -> Figure:
    """One Action Unit from nothing to all, the others as the session's state asks: edits and both attentions.

    Args:
        session: its state gives face, method and the other AUs; it is left as it was.
        code: e.g. "AU12".
        values: intensities, 0-5.
    """
    state = session.state
    rows: dict[str, list[Picture]] = {"edit": [], **{name: [] for name in BRANCHES}}
    try:
        for value in values:
            session.state = replace(state, relative=False).with_target(
                state.target_aus(session.face.aus), session.face.aus).with_au(code, value)  # fmt: skip
            edited = session.edited()
            rows["edit"].append(edited.image)
            for name, attention in edited.edit.strongest_attention.items():
                rows[name].append(attention[0])
    finally:
        session.state = state
    rows = {name: pictures for name, pictures in rows.items() if pictures}
    maps = [np.asarray(picture) for name, pictures in rows.items() if name != "edit" for picture in pictures]
    labels = [f"{BRANCHES[name]}\nattention" if name in BRANCHES else name for name in rows]
    caption = f"At each pixel the largest attention of all stages. {_words(session.editor())}"
    return image_grid(
        list(rows.values()), row_labels=labels, column_labels=[f"{value:g}" for value in values], cell=192,
        map_limit=colour_limit(maps), title=f"{label_of(code)}, 0 to 5", caption=caption,
    )  # fmt: skip


def mean_attention(editor: Editor, *, limit: int | None = 280) -> AttentionMeans:
    """Edits the run's test faces towards every evaluated expression and averages the attention.

    Args:
        editor: the run.
        limit: at most so many edits, evenly over the expressions; None = all.

    Raises:
        UserError: StarGAN, which has no attention.
    """
    if editor.config.experiment == "stargan":
        raise UserError("StarGAN has no attention to look at: choose another run")
    faces = load_faces(editor.config.data)
    split = split_faces(faces, editor.config.data)
    protocol = replace(editor.config.evaluation, max_pairs=limit)
    pairs = evaluation_pairs(faces, split, protocol)
    wanted = target_aus(faces, pairs, protocol.targets, train=split.train)
    expression = faces.expression[pairs.target]
    maps: dict[tuple[str, str], Tensor] = {}
    counts = {}
    for label in faces.evaluated_index.tolist():
        chosen = (expression == label).nonzero().flatten()
        if not len(chosen):
            continue
        source = pairs.source[chosen]
        edit = editor.edit_batch(faces.images[source], faces.aus[source], wanted[chosen])
        name = faces.expression_names[label]
        counts[name] = len(chosen)
        maps |= {(name, branch): values.mean(0) for branch, values in edit.strongest_attention.items()}
    training = faces.subset(split.train)
    return AttentionMeans(editor=editor, natural=training.subset(training.classed), maps=maps, counts=counts)


def mean_attention_figure(means: AttentionMeans) -> Figure:
    """Mean attention maps, local above global, one column per expression, with the focus boxes."""
    expressions = list(means.counts)
    branches = [name for name in BRANCHES if (expressions[0], name) in means.maps]
    rows: list[list[Picture]] = [[means.maps[e, name] for e in expressions] for name in branches]
    boxes = [Box(row=i, column=j, colour=FRAMES[region], **box._asdict())
             for i in range(len(branches)) for j in range(len(expressions))
             for region, box in means.editor.focus_boxes.items()]  # fmt: skip
    labels = [f"{plain(name)}\n{means.counts[name]} edits" for name in expressions]
    caption = ("Mean over edits of test faces of the largest attention of all stages at each pixel. Frames: the focus "
               f"boxes of eyes, nose and mouth. {_words(means.editor)}")  # fmt: skip
    return image_grid(
        rows, row_labels=[f"{BRANCHES[name]}\nattention" for name in branches], column_labels=labels, cell=192,
        boxes=boxes, map_limit=colour_limit([values.numpy() for values in means.maps.values()]), caption=caption,
        title=f"Where {_method(means.editor)} edits, by target expression",
    )  # fmt: skip


def path_figure(session: EditSession, natural: FaceSet) -> Figure:
    """The Interpolator's way from the session's face to its target against the straight line, with real AUs behind.

    Distances are compared where both have come equally far.

    Args:
        session: its run must be a cascade.
        natural: faces with real AUs, for the plane (their first two principal components) and for the distances.

    Raises:
        UserError: the run has no Interpolator.
    """
    editor, face = session.editor(), session.face
    if editor.interpolator is None:
        raise UserError(f"{_method(editor)} has no Interpolator: choose a cascade")
    start, end = (torch.from_numpy(aus / MAX_INTENSITY) for aus in (face.aus, session.state.target_aus(face.aus)))
    alphas = torch.linspace(0, 1, 31)[:, None]
    with torch.no_grad():
        device = next(editor.interpolator.parameters()).device
        first, last = (aus.expand(31, -1).to(device) for aus in (start, end))
        ways = {name: way.between(first, last, alphas.to(device)).cpu()
                for name, way in (("straight line", StraightLine(editor.interpolator)),
                                  ("Interpolator", editor.interpolator))}  # fmt: skip
    nearest = {name: MAX_INTENSITY * torch.cdist(way, natural.aus).amin(1).mean() for name, way in ways.items()}
    plane = PCA(2, random_state=0).fit(natural.aus.numpy())
    stops = [round(30 * k / editor.num_stages) for k in range(editor.num_stages + 1)]
    with styled():
        figure = new_figure(7.2, 5.0)
        axes = figure.add_axes((0.11, 0.11, 0.58, 0.8))
        behind = plane.transform(natural.aus.numpy())
        names = [plain(natural.expression_names[k]) if k >= 0 else "no class" for k in natural.expression.tolist()]
        for colour, name in zip(COLOURS * 3, dict.fromkeys(names), strict=False):
            points = behind[[other == name for other in names]]
            axes.scatter(points[:, 0], points[:, 1], s=9, color=colour, alpha=0.45, lw=0, label=name)
        for (name, way), style in zip(ways.items(), ("--", "-"), strict=True):
            line = plane.transform(way.numpy())
            label = f"{name}\n({nearest[name]:.2f} from real AUs)"
            axes.plot(*line.T, style, color="#111111" if style == "-" else "#777777", lw=1.8, marker="o",
                      markevery=stops, ms=5, label=label)  # fmt: skip
        share = 100 * plane.explained_variance_ratio_
        axes.set_xlabel(f"first principal component ({share[0]:.0f} %)")
        axes.set_ylabel(f"second ({share[1]:.0f} %)")
        wanted = plain(session.state.expression or "the sliders' target")
        axes.set_title(f"From {face.name} to {wanted} in the space of {len(AU_NAMES)} AUs")
        axes.legend(loc="upper left", bbox_to_anchor=(1.02, 1), fontsize=8)
    return figure


def _method(editor: Editor) -> str:
    return find_experiment(editor.config.experiment).method


def _words(editor: Editor) -> str:
    """Which run this is."""
    config = editor.config
    kind = "embedded synthetic faces" if config.data.synthetic else "photographs"
    return f"{_method(editor)}, {config.data.dataset} ({kind}), preset {config.preset}, seed {config.seed}."
