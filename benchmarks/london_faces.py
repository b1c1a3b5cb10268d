"""How do edits look on real people? Neutral → smiling on the London Set, before and after fine-tuning.

    python benchmarks/london_faces.py DIR RUN --out OUT [--iterations 75]

DIR holds `NNN_neutral.jpg` and `NNN_smiling.jpg` (DeBruine & Jones, doi 10.6084/m9.figshare.5047666, CC BY 4.0). RUN is
a trained cascade with `controls` beside it. A quarter of the people is never trained on; all numbers are theirs. AUs
are those of efgan's AU estimator, which also labels the training photos: "mouth wider by" knows nothing of it.
Needs the extra `wild`. Pictures of the people go to OUT only; keep them to yourself.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import click
import dlib
import numpy as np
import pandas as pd
import torch
from PIL import Image
from skimage.metrics import structural_similarity

from efgan.config import RunConfig
from efgan.data import load_faces
from efgan.data.action_units import AU_NAMES, MAX_INTENSITY, prototype_aus
from efgan.data.crop import align_face, read_photo
from efgan.data.faces import FaceSet, join_faces
from efgan.data.landmarks import detect_landmarks
from efgan.editing.editor import Editor, load_editor
from efgan.editing.own_aus import estimate_aus
from efgan.editing.wild import MAX_PROTOTYPE, edit_photo
from efgan.errors import UserError
from efgan.progress import track
from efgan.training.run import CRITIC, WEIGHTS, train_faces

CROPS = 6  # of each training photo, slightly moved; our decision
JITTER = 0.02  # of the face's size; standard deviation of a crop's shift, turn and scale
SYNTHETIC_SHARE = 1.0  # embedded faces per training crop, so that all AUs stay alive; our decision
EXPRESSIONS = ("neutral", "happy")
SMILE = {  # of "happy" at its strongest, 0-5
    code: min(MAX_INTENSITY * MAX_PROTOTYPE * float(value), MAX_INTENSITY)
    for code, value in zip(AU_NAMES, prototype_aus("happy"), strict=True) if value
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Person:
    """A person's two photos, neutral then smiling, with their landmarks and estimated AUs (2×17, 0-5)."""

    name: str
    photos: tuple[np.ndarray, ...]
    landmarks: tuple[np.ndarray, ...]
    aus: np.ndarray


def read_people(folder: Path, editor: Editor) -> list[Person]:
    """All people of the folder; AUs by the editor's estimator, means over slightly moved crops."""
    people = []
    for path in track(sorted(folder.glob("*_neutral.jpg")), description="reading photos"):
        photos = tuple(
            read_photo(path.with_name(path.name.replace("neutral", kind))) for kind in ("neutral", "smiling")
        )
        landmarks = tuple(detect_landmarks(photo)[0] for photo in photos)
        aus = [estimate_aus(editor, moved_crops(photo, points, editor.config.data.image_size))[0].mean(0)
               for photo, points in zip(photos, landmarks, strict=True)]  # fmt: skip
        people.append(Person(name=path.name[:3], photos=photos, landmarks=landmarks, aus=np.stack(aus)))
    return people


def moved_crops(photo: np.ndarray, landmarks: np.ndarray, size: int) -> list[np.ndarray]:
    """`CROPS` crops of a face: the first as aligned, the others a little shifted, turned and scaled."""
    random = np.random.default_rng(0)
    centre, crops = landmarks.mean(0), []
    for k in range(CROPS):
        turn, scale = JITTER * random.normal(size=2) * (k > 0)
        shift = JITTER * np.ptp(landmarks, 0) * random.normal(size=2) * (k > 0)
        matrix = (1 + scale) * np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        crops.append(align_face((landmarks - centre) @ matrix + centre + shift, size).apply(photo))
    return crops


def as_faces(people: Sequence[Person], size: int) -> FaceSet:
    """The training photos as a face set."""
    images, aus, points, identity, expression, names = [], [], [], [], [], []
    for number, person in enumerate(people):
        for kind, (photo, landmarks) in enumerate(zip(person.photos, person.landmarks, strict=True)):
            images += moved_crops(photo, landmarks, size)
            aus += [person.aus[kind] / MAX_INTENSITY] * CROPS
            points += [align_face(landmarks, size).transform(landmarks)] * CROPS
            identity += [number] * CROPS
            expression += [kind] * CROPS
            names += [f"{person.name}_{EXPRESSIONS[kind]}_{k}" for k in range(CROPS)]
    n = len(images)
    return FaceSet(
        name="london_faces", images=torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous(),
        aus=torch.from_numpy(np.stack(aus)).float(), landmarks=torch.from_numpy(np.stack(points)).float(),
        identity=torch.tensor(identity), expression=torch.tensor(expression), variant=torch.zeros(n, dtype=torch.int64),
        expression_names=EXPRESSIONS, evaluated=EXPRESSIONS, names=tuple(names), synthetic=False,
    )  # fmt: skip


def fine_tune(run: Path, config: RunConfig, people: Sequence[Person], out: Path) -> Path:
    """`cascade_ef_gan_wild` on the people's photos and about as many embedded faces; the new run's folder."""
    photos = as_faces(people, config.data.image_size)
    embedded = load_faces(config.data)
    chosen = torch.randperm(len(embedded), generator=torch.Generator().manual_seed(0))
    embedded = embedded.subset(chosen[: int(SYNTHETIC_SHARE * len(photos))])
    faces = join_faces("london_faces", [photos, embedded])
    return train_faces(out / "cascade_ef_gan_wild" / "seed0", config, faces, start=[run / WEIGHTS, run / CRITIC])


class Descriptor:
    """The 128 numbers of face_recognition_models that say who somebody is; 0.6 apart is dlib's "another person"."""

    def __init__(self) -> None:
        models = find_spec("face_recognition_models").submodule_search_locations[0]
        path = Path(models) / "models" / "dlib_face_recognition_resnet_model_v1.dat"
        self._model = dlib.face_recognition_model_v1(str(path))

    def __call__(self, photo: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        left, top, right, bottom = (int(v) for v in (*landmarks.min(0), *landmarks.max(0)))
        points = [dlib.point(*(int(v) for v in point)) for point in landmarks]
        shape = dlib.full_object_detection(dlib.rectangle(left, top, right, bottom), points)
        return np.array(self._model.compute_face_descriptor(np.ascontiguousarray(photo), shape))


def mouth_width(landmarks: np.ndarray) -> float:
    """Distance of the mouth's corners over that of the eyes' outer corners."""
    return float(np.linalg.norm(landmarks[48] - landmarks[54]) / np.linalg.norm(landmarks[36] - landmarks[45]))


def score(editor: Editor, people: Sequence[Person], tested: Sequence[Person], out: Path) -> pd.DataFrame:
    """One row per tested person and edit: the preset "happy" and its FACS prototype (AU12 = 3 of 5), AUs 6, 12 and 25
    alone at their strongest, the AUs of the person's own smile, and two controls.
    """
    describe = Descriptor()
    known = {person.name: describe(person.photos[0], person.landmarks[0]) for person in people}
    rows, strips = [], []
    for person in track(tested, description="editing"):
        neutral, smiling = person.photos
        own = dict(zip(AU_NAMES, person.aus[1].tolist(), strict=True))
        requests = {"happy": {"expression": "happy"}, "happy, prototype": {"expression": "happy", "intensity": 1.0},
                    "smile alone": {"aus": SMILE}, "own smile": {"aus": own}}  # fmt: skip
        known_aus = {"source_aus": person.aus[0], "landmarks": [person.landmarks[0]]}
        edits = {name: edit_photo(editor, neutral, **known_aus, **request).image for name, request in requests.items()}
        pictures = {"neutral photo": neutral, **edits, "smiling photo": smiling}
        strips.append(np.concatenate(list(pictures.values()), 1))
        for name, picture in pictures.items():
            rows.append({"person": person.name, "edit": name, **compare(editor, person, picture, describe, known)})
    out.mkdir(parents=True, exist_ok=True)
    for k in range(0, len(strips), 6):
        Image.fromarray(np.concatenate(strips[k : k + 6])).save(out / f"people_{k // 6}.jpg", quality=92)
    return pd.DataFrame(rows)


def compare(
    editor: Editor, person: Person, picture: np.ndarray, describe: Descriptor, known: dict[str, np.ndarray]
) -> dict[str, float]:
    """One picture against the person's real smile, own identity and neutral AUs."""
    size = editor.config.data.image_size
    smile = align_face(person.landmarks[1], size).apply(person.photos[1])
    try:
        landmarks, found = detect_landmarks(picture)[0], 1.0
    except UserError:  # the edit spoilt the face; it still is where it was
        landmarks, found = person.landmarks[0], 0.0
    aligned = align_face(landmarks, size).apply(picture)
    aus = estimate_aus(editor, moved_crops(picture, landmarks, size))[0].mean(0)
    me = describe(picture, landmarks)
    distances = {name: float(np.linalg.norm(me - other)) for name, other in known.items()}
    error = np.square(aligned.astype(float) - smile).mean()
    return {
        "PSNR": float(10 * np.log10(255**2 / max(error, 1e-9))),
        "SSIM": float(structural_similarity(aligned, smile, channel_axis=2)),
        "AU12 change": float(aus[AU_NAMES.index("AU12")] - person.aus[0, AU_NAMES.index("AU12")]),
        "mouth wider by": mouth_width(landmarks) / mouth_width(person.landmarks[0]) - 1,
        "face found": found, "to source": distances.pop(person.name), "to nearest other": min(distances.values()),
    }  # fmt: skip


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Means by edit, with the shares that the goals name."""
    table = table.assign(**{"AU12 up by 1.5": table["AU12 change"] >= 1.5,
                            "nearest is source": table["to source"] < table["to nearest other"]})  # fmt: skip
    return table.drop(columns="person").groupby("edit", sort=False).mean().round(3)


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True)
@click.option("--iterations", type=int, help="Of the fine-tuning; by default the preset's; 0 for none.")
@click.option("--learning-rate", type=float, help="Of the fine-tuning; by default the preset's.")
def main(folder: Path, run: Path, out: Path, iterations: int | None, learning_rate: float | None) -> None:
    """Score RUN on the people of FOLDER, fine-tune it on three quarters of them, score again."""
    editor = load_editor(run)
    people = read_people(folder, editor)
    order = np.random.default_rng(0).permutation(len(people))
    tested, trained = ([people[k] for k in part] for part in np.split(order, [len(people) // 4]))
    pd.set_option("display.width", 200, "display.max_columns", 20)
    before = score(editor, people, tested, out / "before")
    print(f"{len(tested)} unseen people, before fine-tuning:\n{summary(before)}", flush=True)
    if iterations == 0:
        return
    train = editor.config.train
    optim = replace(train.optim, learning_rate=learning_rate or train.optim.learning_rate)
    train = replace(train, cascade_iterations=iterations or train.cascade_iterations, optim=optim)
    config = replace(editor.config, experiment="cascade_ef_gan_wild", train=train)
    tuned = load_editor(fine_tune(run, config, trained, out))
    tuned.folder = editor.folder  # the same AU estimator judges
    after = score(tuned, people, tested, out / "after")
    print(f"after {train.cascade_iterations} iterations on {len(trained)} others:\n{summary(after)}")
    for name, table in (("before", before), ("after", after)):
        table.to_csv(out / f"{name}.csv", index=False, float_format="%.4g")


if __name__ == "__main__":
    main()
