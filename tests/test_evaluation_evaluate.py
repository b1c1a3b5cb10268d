"""Judges and whole evaluations on tiny sets: controls, a perfect method, files and their errors."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import make_faces

from efgan.config import DataConfig, EvalConfig
from efgan.data.action_units import prototype_aus
from efgan.data.faces import to_float
from efgan.data.splits import split_faces
from efgan.errors import UserError
from efgan.evaluation import evaluate, protocol
from efgan.evaluation.expression_accuracy import train_classifiers
from efgan.evaluation.judges import load_judges, train_judges
from efgan.models.branch import BranchOutput, Edit

CONFIG = EvalConfig(classifier="small", classifier_epochs=1, classifier_seeds=2, estimator_epochs=1,
                    extractor="efficientnet-lite0", max_pairs=40, frechet_pairs=12)  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def cheap_features():
    """Mean colours on a 4×4 grid stand in for the extractor, which has its own tests."""

    def compute(images, extractor, **_):
        return torch.nn.functional.adaptive_avg_pool2d(images.float() / 255, 4).flatten(1)

    patch = pytest.MonkeyPatch()
    patch.setattr("efgan.evaluation.judges.compute_features", compute)
    patch.setattr("efgan.evaluation.evaluate.compute_features", compute)
    yield
    patch.undo()


def readable_faces():
    """Faces whose expression is written on them: a bright bar at a height of its own, over a personal tone."""
    faces = make_faces(people=5, size=32, unclassed=5)
    images = faces.images // 8 + (faces.identity * 20).to(torch.uint8)[:, None, None, None]
    for image, expression in zip(images, faces.expression.tolist(), strict=True):
        if expression >= 0:
            image[:, 4 * expression : 4 * expression + 4] = 255
    return replace(faces, images=images, landmarks=faces.landmarks / 2)


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """Faces, their split, trained judges and the folder of the controls."""
    faces = readable_faces()
    split = split_faces(faces, DataConfig(image_size=32, split="identity", test_fraction=0.4))
    folder = tmp_path_factory.mktemp("controls")
    config = replace(CONFIG, classifier_epochs=4)
    return faces, split, config, folder, train_judges(faces, split, config, folder)


def perfect_method(faces):
    """Returns the real target face: looks it up by the requested AUs, which are unique."""

    def edit(images, source_aus, target_aus, target_expression):
        rows = torch.cdist(target_aus, faces.aus).argmin(1)
        attention = torch.full((len(images), 1, faces.size, faces.size), 0.5)
        return Edit(image=to_float(faces.images[rows]), global_edit=BranchOutput(images, images, attention))

    return edit


def test_controls_say_what_the_numbers_mean(judged):
    """R is high here; copying the source never shows the target, the real target always does."""
    faces, split, config, folder, judges = judged
    metrics = evaluate.evaluate_controls(faces, split, judges, config, folder)
    assert metrics["accuracy_R"] > 0.9
    copy, target = metrics["copy"], metrics["target"]
    assert copy["accuracy_G"] < 0.1 and target["accuracy_G"] > 0.9
    assert copy["psnr_over_copy"] == 0 and copy["au_mae_relative_to_copy"] == pytest.approx(1)
    assert copy["off_target"] in (0, None)
    assert target["psnr"] is None, "the PSNR of equal images is infinite, which JSON cannot hold"
    assert target["ssim"] == pytest.approx(1)
    assert metrics["au_estimator"]["AU12"]["mae"] >= 0
    assert json.loads((folder / "metrics.json").read_text()) == metrics
    assert metrics["targets_in_training"] == 0


def test_target_control_is_R_on_those_faces(judged):
    """With every pair, each test face is the target equally often: the target control's G is R."""
    faces, split, config, folder, judges = judged
    config = replace(config, max_pairs=None)
    metrics = evaluate.evaluate_controls(faces, split, judges, config, folder)
    assert metrics["target"]["accuracy_G"] == pytest.approx(metrics["accuracy_R"])
    assert metrics["accuracy_R"] == pytest.approx(np.mean(metrics["accuracy_R_per_face"]))


def test_all_edits_ask_for_what_the_protocol_names(judged, tmp_path):
    """The edits of test faces and, for R+G, those of training faces."""
    faces, split, config, _, judges = judged
    asked = []

    def edit(images, source_aus, wanted, expression):
        asked.extend(zip(wanted, expression.tolist(), strict=True))
        return Edit(image=images)

    evaluate.evaluate_run(edit, faces, split, judges, replace(config, targets="prototype"), tmp_path)
    for aus, expression in asked:
        torch.testing.assert_close(aus, torch.as_tensor(prototype_aus(faces.expression_names[expression])).float())
    assert len(asked) > 40, "the edits of training faces are among them"


def test_a_perfect_method(judged, tmp_path):
    """Its G and AU error equal the target control's; pairs.csv has one row per pair that agrees with metrics.json."""
    faces, split, config, folder, judges = judged
    control = evaluate.evaluate_controls(faces, split, judges, config, folder)["target"]
    metrics = evaluate.evaluate_run(perfect_method(faces), faces, split, judges, config, tmp_path)
    for name in ("accuracy_G", "au_mae", "fd", "kid", "identity", "ssim"):
        assert metrics[name] == pytest.approx(control[name]), name
    assert metrics["mean_attention"] == {"global": pytest.approx(0.5)}
    assert metrics["accuracy_RG"] > 0.9 and len(metrics["accuracy_RG_per_seed"]) == 2
    assert len(metrics["accuracy_RG_per_face"]) == len(judges.reference)
    assert metrics["accuracy_RG"] == pytest.approx(np.mean(metrics["accuracy_RG_per_face"]))
    assert metrics["fd_name"] == "FD-EffNetLite0" and metrics["fd_edits"] == 12
    table = pd.read_csv(tmp_path / "pairs.csv")
    assert len(table) == metrics["pairs"] == 40
    assert table.correct.mean() == pytest.approx(metrics["accuracy_G"])
    assert table.au_mae.mean() == pytest.approx(metrics["au_mae"], rel=1e-4)
    assert (table.predicted == table.target_expression)[table.correct == 1].all()
    assert json.loads((tmp_path / "metrics.json").read_text()) == metrics


def test_judges_come_back_as_they_were(judged):
    """Saved and loaded judges give the same outputs."""
    faces, split, config, folder, judges = judged
    loaded = load_judges(folder, faces, split, config)
    images = to_float(faces.images[:4])
    for ours, theirs in zip(judges.classifiers, loaded.classifiers, strict=True):
        torch.testing.assert_close(theirs(images), ours(images))
    torch.testing.assert_close(loaded.au_estimator(images), judges.au_estimator(images))
    torch.testing.assert_close(loaded.identity_classifier(images), judges.identity_classifier(images))
    assert judges.identity_classifier(images).shape[1] == 3, "people of the training faces"
    assert loaded.reference.equal(judges.reference)
    assert loaded.reference_features.equal(judges.reference_features)


def test_judges_of_something_else_are_refused(judged, tmp_path):
    """Another split, other settings, missing and damaged files: one clear line that names the remedy."""
    faces, split, config, folder, _ = judged
    with pytest.raises(UserError, match="another split"):
        load_judges(folder, faces, replace(split, hash="other"), config)
    with pytest.raises(UserError, match="another classifier_epochs"):
        load_judges(folder, faces, split, replace(config, classifier_epochs=3))
    with pytest.raises(UserError, match=r"judges\.json is missing; run `efgan evaluate "):
        load_judges(tmp_path, faces, split, config)
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    whole = (folder / "au_estimator.safetensors").read_bytes()
    (tmp_path / "au_estimator.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="damaged"):
        load_judges(tmp_path, faces, split, config)


def rows_of(images, faces):
    """Positions in the set of pictures that were taken from it."""
    place = {image.numpy().tobytes(): row for row, image in enumerate(faces.images)}
    return {place[image.numpy().tobytes()] for image in images}


def test_judges_learn_from_training_faces_alone(tmp_path, monkeypatch):
    """Classifiers, the AU estimator and the identity classifier; test faces are for measuring them."""
    faces = make_faces(people=5, size=32, unclassed=5)
    split = split_faces(faces, DataConfig(image_size=32, split="identity", test_fraction=0.4))
    learnt = []
    for module in ("judges", "expression_accuracy"):
        monkeypatch.setattr(f"efgan.evaluation.{module}.fit", lambda net, images, *_, **__: learnt.append(images))
    judges = train_judges(faces, split, CONFIG, tmp_path)
    train = set(split.train.tolist())
    assert len(learnt) == 4 and all(rows_of(images, faces) <= train for images in learnt)
    assert rows_of(learnt[-1], faces) == train and judges.reference.tolist() == split.test.tolist()


def test_the_au_estimator_is_measured_on_faces_it_has_not_seen(judged, tmp_path, monkeypatch):
    """Those of test people without a class too."""
    faces, split, config, _, judges = judged
    measured = []
    monkeypatch.setattr(evaluate, "estimator_quality", lambda _, aus: measured.append(aus) or {})
    evaluate.evaluate_controls(faces, split, judges, config, tmp_path)
    seen = torch.zeros(len(faces), dtype=torch.bool)
    seen[split.train] = True
    assert torch.equal(measured[0], faces.aus[~seen])


def test_classifiers_of_R_and_G_see_edits_of_training_faces_alone(judged, tmp_path, monkeypatch):
    """R+G is tested on faces whose people no classifier has seen."""
    faces, split, config, _, judges = judged
    learnt = []

    def train(images, *_, real_count, **__):
        learnt.append((images, real_count))
        return judges.classifiers

    monkeypatch.setattr(evaluate, "train_classifiers", train)
    copy = lambda images, *_: Edit(image=images)  # noqa: E731
    evaluate.evaluate_run(copy, faces, split, judges, config, tmp_path)
    ((images, real_count),) = learnt
    assert len(images) == 2 * real_count and rows_of(images, faces) <= set(split.train.tolist())


@pytest.mark.parametrize("count", [60, 203, 640, 912])
def test_R_and_R_and_G_are_trained_equally_long(count, monkeypatch):
    """As many updates, whatever the last batch holds: only the data differ."""
    updates = []
    monkeypatch.setattr("efgan.evaluation.expression_accuracy.fit", lambda _, images, *__, epochs, batch_size, **___:
                        updates.append(epochs * -(-len(images) // batch_size)))  # fmt: skip
    for n in (count, 2 * count):
        images, labels = torch.zeros(n, 3, 8, 8, dtype=torch.uint8), torch.zeros(n, dtype=torch.int64)
        train_classifiers(images, labels, replace(CONFIG, classifier_seeds=1, classifier_epochs=25), classes=8, seed=0,
                          real_count=count)  # fmt: skip
    assert updates[1] == pytest.approx(updates[0])
    assert updates[0] == pytest.approx(25 * max(1, 640 / count) * -(-count // 32))


def test_an_empty_side_of_the_split_is_a_user_error(judged, tmp_path):
    """No evaluated face to test on: said before anything is trained."""
    faces, split, config, _, _ = judged
    with pytest.raises(UserError, match="0 test faces"):
        train_judges(faces, replace(split, test=split.test[:0]), config, tmp_path)


def test_all_methods_share_their_pairs(judged):
    """Pairs depend on the faces, the split and the limit only."""
    faces, split, config, _, _ = judged
    first, second = (protocol.evaluation_pairs(faces, split, config) for _ in range(2))
    assert first.source.equal(second.source) and first.target.equal(second.target)


def test_numbers_that_do_not_exist_become_null(tmp_path):
    """NaN and infinity are no JSON."""
    written = evaluate.save_metrics({"a": float("nan"), "b": (1.0, float("inf"))}, tmp_path / "metrics.json")
    assert written == {"a": None, "b": [1.0, None]}
    assert json.loads((tmp_path / "metrics.json").read_text()) == written
