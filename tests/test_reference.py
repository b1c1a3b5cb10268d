"""What is shipped: weights of half precision that open by themselves, a gallery, and the run's manifest."""

import json
import shutil

import numpy as np
import pytest
import torch
from conftest import make_faces
from fake_results import trained_run, write_run

from efgan.data.faces import FaceSet
from efgan.data.splits import Split
from efgan.editing import reference
from efgan.editing.editor import load_editor
from efgan.editing.reference import (
    choose_gallery,
    load_gallery,
    reference_run,
    save_gallery,
    ship_reference,
    ship_run,
)
from efgan.errors import UserError
from efgan.experiments import read_config
from efgan.provenance import sha256_of


@pytest.fixture
def shipped(tmp_path):
    """A shipped tiny cascade, and the run that it was made from."""
    run = trained_run(tmp_path / "made", "cascade_ef_gan")
    return ship_run(run, tmp_path / "reference"), run


def test_shipped_weights_are_halved_and_edit_alike(shipped):
    """Half the bytes; an edit differs from the run's own by less than a grey level or two."""
    folder, run = shipped
    size = (folder / "weights.safetensors").stat().st_size
    assert size < 0.6 * (run / "weights.safetensors").stat().st_size
    image = make_faces().images[0].permute(1, 2, 0).numpy()
    edits = [load_editor(place, torch.device("cpu")).edit(image, AU12=4).image for place in (folder, run)]
    assert np.abs(edits[0].astype(int) - edits[1]).max() <= 2


def test_the_manifest_tells_what_was_shipped_and_from_what(shipped):
    """The hash of the shipped file and of the one it was made from; no path of the machine that trained."""
    folder, run = shipped
    record = json.loads((folder / "manifest.json").read_text())
    assert record["outputs"] == {"weights.safetensors": sha256_of(folder / "weights.safetensors")}
    assert record["notes"]["shipped"]["made_from"] == {"weights.safetensors": sha256_of(run / "weights.safetensors")}
    assert str(run.parents[5]) not in record["command"]


def test_the_shipped_run_is_found_and_verified(shipped, tmp_path):
    """`load_editor()` opens it; changed weights are refused in words."""
    folder, _ = shipped
    assert reference_run(folder=tmp_path / "reference") == folder
    (folder / "weights.safetensors").write_bytes(b"other")
    with pytest.raises(UserError, match="is not the file its manifest"):
        reference_run(folder=tmp_path / "reference")
    with pytest.raises(UserError, match="no shipped baseline"):
        reference_run("baseline", folder=tmp_path / "reference")


def test_of_several_shipped_runs_the_one_with_the_largest_faces_opens(shipped, tmp_path):
    """Whatever its preset's name."""
    folder, _ = shipped
    larger = tmp_path / "reference/synthetic/a_preset/synthetic_cfeed/cascade_ef_gan/seed0"
    shutil.copytree(folder, larger)
    assert reference_run(folder=tmp_path / "reference") == larger  # of equal size the first by name
    config = json.loads((folder / "config.json").read_text())
    config["data"]["image_size"] = 128
    (folder / "config.json").write_text(json.dumps(config))
    assert reference_run(folder=tmp_path / "reference") == folder


def test_unfinished_runs_are_not_shipped(shipped, tmp_path):
    """Nor weights that are not those of the manifest."""
    _, run = shipped
    record = json.loads((run / "manifest.json").read_text())
    for changed in (record | {"status": "failed"}, record | {"outputs": {"weights.safetensors": "0" * 64}}):
        (run / "manifest.json").write_text(json.dumps(changed))
        with pytest.raises(UserError, match="no finished run"):
            ship_run(run, tmp_path / "again")


def test_the_gallery_holds_test_faces_neutral_first(tmp_path):
    """Every person neutral, then expressions that differ; what is read is what was written."""
    faces = make_faces(people=4)
    test = torch.arange(len(faces))[faces.identity >= 2]
    gallery = choose_gallery(faces, Split(train=torch.arange(16), test=test, hash=""), count=6)
    assert len(gallery) == 6 and set(gallery.identity.tolist()) == {2, 3}
    assert [gallery.expression_names[k] for k in gallery.expression.tolist()].count("neutral") == 2
    again = load_gallery(save_gallery(gallery, tmp_path / reference.GALLERY).parent)
    assert isinstance(again, FaceSet) and again.data_hash() == gallery.data_hash() and again.names == gallery.names


def test_a_missing_gallery_is_said_in_words(tmp_path):
    """With the command that makes it."""
    with pytest.raises(UserError, match="ship_reference"):
        load_gallery(tmp_path)


@pytest.mark.parametrize("methods", [(), ("cascade_ef_gan",)])
def test_the_estimator_is_shipped_beside_weights_alone(tmp_path, monkeypatch, methods):
    """Numbers without weights need none."""
    controls = trained_run(tmp_path, "cascade_ef_gan").parents[1] / "controls" / "seed0"
    write_run(tmp_path, "synthetic_rafd", "controls")
    (controls / reference.ESTIMATOR).write_bytes(b"weights")
    monkeypatch.setattr(reference, "load_faces", lambda config: make_faces(people=4))
    out = tmp_path / "out"
    ship_reference(tmp_path, preset="smoke", dataset="synthetic_rafd", seed=0, methods=methods, destination=out)
    assert bool(list(out.rglob(reference.ESTIMATOR))) == bool(methods)


def test_photographs_are_never_shipped(tmp_path):
    """A licensed set's test faces must not reach the repository."""
    write_run(tmp_path, "rafd", "cascade_ef_gan")
    with pytest.raises(UserError, match="only runs on the embedded faces are shipped"):
        ship_reference(tmp_path, preset="smoke", dataset="rafd", seed=0, destination=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("path", sorted(reference.REFERENCE.glob("**/config.json")), ids=lambda path: path.parts[-3])
def test_what_this_version_ships_opens_with_it(path):
    """A setting that is added, renamed or dropped needs new shipped runs."""
    config = read_config(path.parent)
    assert path.parts[-3:-1] == (config.experiment, f"seed{config.seed}")
