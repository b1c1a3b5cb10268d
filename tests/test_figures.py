"""Figures 1-8: the paper's arrangement, examples by rule, real outputs of the runs, whole files with captions."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_faces
from fake_results import untrained_editor, write_results
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from efgan.data.faces import to_float, to_uint8
from efgan.editing import wild
from efgan.errors import UserError
from efgan.evaluation.protocol import test_pairs as all_pairs
from efgan.exhibits import figures
from efgan.exhibits import runs as runs_module
from efgan.exhibits.dataset import draw_mean_face
from efgan.exhibits.figures import FIGURES
from efgan.exhibits.runs import Runs, choose_pairs
from efgan.exhibits.wild import affectnet_examples, wild_examples
from efgan.grids import image_grid
from efgan.models.local_focus import compute_focus_boxes


def no_aus(editor, images) -> tuple[np.ndarray, str]:
    """Stands for the AU estimator, which untrained runs have not beside them."""
    return np.zeros((len(images), 17)), "efgan's AU estimator"


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    """Finished runs with untrained networks, on faces of noise."""
    write_results(tmp_path)
    monkeypatch.setattr(runs_module, "load_editor", untrained_editor)
    monkeypatch.setattr(runs_module, "load_faces", lambda config: make_faces(people=8))
    monkeypatch.setattr(wild, "estimate_aus", no_aus)
    return Runs(tmp_path, "synthetic", "smoke")


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> dict:
    """What the next figure hands to the grid."""
    seen: dict = {}

    def spy(rows, **layout):
        seen.update(layout, rows=rows)
        return image_grid(rows, **layout)

    monkeypatch.setattr(figures, "image_grid", spy)
    monkeypatch.setattr(figures, "save_figure", lambda figure, stem: None)
    return seen


@pytest.mark.parametrize("name", [name for name in FIGURES if name != "figure_8"])
def test_every_figure_is_written_as_png_and_pdf(runs: Runs, name: str) -> None:
    """200 dpi, a caption that names synthetic data, split, preset and seed."""
    figure = FIGURES[name](runs)
    png = runs.figures_folder / f"{name}.png"
    assert png.with_suffix(".pdf").read_bytes().startswith(b"%PDF")
    with Image.open(png) as picture:
        assert round(picture.info["dpi"][0]) == 200
        assert picture.info["Description"] == figure.get_label()
    for words in ("synthetic_rafd", "synthetic faces", "identity split", "preset smoke", "seed 0", "6 + 4"):
        assert words in figure.get_label()


@pytest.mark.parametrize("name", ["figure_5", "figure_8"])
def test_figures_of_photographs_are_not_called_synthetic(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The caption says photographs; the sets stand for themselves; figure 8 has no rendered people."""
    write_results(tmp_path, family="real")
    monkeypatch.setattr(runs_module, "load_editor", untrained_editor)
    monkeypatch.setattr(runs_module, "load_faces", lambda config: replace(make_faces(people=8), synthetic=False))
    monkeypatch.setattr(wild, "estimate_aus", no_aus)
    caption = FIGURES[name](Runs(tmp_path, "real", "smoke")).get_label()
    assert "photographs, image split" in caption and "synthetic" not in caption and "endered" not in caption


def test_comparison_shows_what_the_runs_make_of_the_same_faces(runs: Runs, drawn: dict) -> None:
    """Figure 5: rows input, target, StarGAN, GANimation, ours; columns 1-5 RaFD's role, 6-10 CFEED's."""
    FIGURES["figure_5"](runs)
    assert [len(row) for row in drawn["rows"]] == [10] * 5
    assert drawn["row_labels"] == ["input", "target", "StarGAN", "GANimation", "Cascade\nEF-GAN"]
    assert [count for _, count in drawn["column_groups"]] == [5, 5]
    examples = runs.examples("rafd", figures.TASKS["figure_5"])
    edited = runs.edit("rafd", "ganimation", examples).image
    assert torch.equal(drawn["rows"][0][1], examples.images[1])
    assert torch.equal(drawn["rows"][3][1], edited[1])


def test_comparison_on_one_set_needs_no_runs_of_the_other(runs: Runs, drawn: dict) -> None:
    """Half of figure 5, for a batch that has but one set."""
    shutil.rmtree(runs.results_folder / "synthetic_rafd")
    caption = figures.figure_5(runs, roles=["cfeed"]).get_label()
    assert [len(row) for row in drawn["rows"]] == [5] * 5
    assert "synthetic_cfeed" in caption and "synthetic_rafd" not in caption


def test_ablation_rows_are_the_papers(runs: Runs, drawn: dict) -> None:
    """Figure 6: input, target and the four ablations, in Table 3's order."""
    FIGURES["figure_6"](runs)
    assert [label.replace("\n", " ") for label in drawn["row_labels"]] == [
        "input", "target", "Baseline", "Baseline + Local Focuses", "Baseline + Cascade", "Cascade EF-GAN",
    ]  # fmt: skip


def test_local_attention_stands_left_of_global_attention(runs: Runs, drawn: dict) -> None:
    """Figure 3, as the paper's: column 3 local and stitched, column 4 global; both on one scale."""
    FIGURES["figure_3"](runs)
    examples = runs.examples("rafd", figures.TASKS["figure_3"])
    stages = runs.edit("rafd", "cascade_ef_gan", examples).stages
    local, glob = drawn["rows"][0][2:]
    assert torch.equal(local, torch.stack([s.stitched_attention[0] for s in stages]).amax(0))
    assert torch.equal(glob, torch.stack([s.global_edit.attention[0] for s in stages]).amax(0))
    assert 0 < drawn["map_limit"] <= 1 and ("local" in drawn["column_labels"][2])


def test_stages_end_in_the_final_edit(runs: Runs, drawn: dict) -> None:
    """Figure 4: input, two intermediate faces, the final one, and the target for comparison."""
    FIGURES["figure_4"](runs)
    assert drawn["column_labels"] == ["input", "stage 1", "stage 2", "final", "target"]
    examples = runs.examples("rafd", figures.TASKS["figure_4"])
    assert torch.equal(drawn["rows"][1][3], runs.edit("rafd", "cascade_ef_gan", examples).image[1])


def test_continuous_editing_ends_at_the_edit_itself(runs: Runs, drawn: dict) -> None:
    """Figure 7: at α = 1 the Interpolator's AUs are the target's."""
    FIGURES["figure_7"](runs)
    examples = runs.examples("rafd", figures.TASKS["figure_7"])
    final = runs.edit("rafd", "cascade_ef_gan", examples).image
    for k, row in enumerate(drawn["rows"]):
        assert torch.equal(row[0], examples.images[k])
        assert torch.allclose(row[-1], final[k], atol=1e-5)


def test_the_architecture_opens_the_stage_that_changes_most(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here the second: the first copies its input, the third adds little."""
    edit = runs.edit("rafd", "cascade_ef_gan", runs.examples("rafd", figures.TASKS["figure_2"]))
    image = to_float(runs.examples("rafd", figures.TASKS["figure_2"]).images)
    stages = [replace(stage, image=image + shift) for stage, shift in zip(edit.stages, (0.0, 0.5, 0.6), strict=True)]
    monkeypatch.setattr(Runs, "edit", lambda *_: replace(edit, stages=stages))
    opened: dict = {}
    monkeypatch.setattr(figures, "draw_architecture", lambda *_, **words: opened.update(words) or Figure())
    FIGURES["figure_2"](runs)
    assert opened["shown"] == 1 and "inside of stage 2" in opened["caption"]


def test_figure_8_of_a_chosen_run_bears_its_name(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stands beside the figure of the family's Cascade EF-GAN, and the notebook shows it by that name."""
    monkeypatch.setattr(figures, "load_editor", untrained_editor)
    chosen = runs.run("rafd", "local_focus").folder
    assert "Local Focuses" in FIGURES["figure_8"](runs, run=chosen).get_label()
    assert figures.figure_8_name(chosen) == "figure_8_local_focus"
    assert (runs.figures_folder / "figure_8_local_focus.png").exists()
    assert not (runs.figures_folder / "figure_8.png").exists()


def test_wild_faces_are_in_no_set_and_fit_the_model(runs: Runs, drawn: dict) -> None:
    """Figure 8: triplets of a person with two expressions in one view; input and desired image differ, softly."""
    FIGURES["figure_8"](runs)
    assert [len(row) for row in drawn["rows"]] == [6, 6, 6, 6]
    assert "efgan's AU estimator" in drawn["caption"] and "NASA" in drawn["caption"]
    photo, desired, edited = drawn["rows"][-1][:3]
    assert photo.shape == edited.shape == (256, 256, 3) and desired is None
    source, desired = drawn["rows"][0][:2]
    assert source.shape == (3, 64, 64)
    assert 0.001 < (source - desired).square().mean() < 0.2


def test_examples_are_the_same_for_every_call_and_differ_by_seed(runs: Runs) -> None:
    """The rule depends on the seed alone."""
    tasks = figures.TASKS["figure_4"]
    assert runs.examples("rafd", tasks).names == runs.examples("rafd", tasks).names
    faces = make_faces(people=8)
    pairs = all_pairs(faces, torch.arange(len(faces)))
    chosen = {tuple(choose_pairs(faces, pairs, faces.aus[pairs.target], tasks, seed)) for seed in range(5)}
    assert len(chosen) == 5


def test_examples_show_the_asked_expressions_on_different_people(runs: Runs) -> None:
    """As long as there are enough people."""
    faces = make_faces(people=8)
    pairs = all_pairs(faces, torch.arange(len(faces)))
    tasks = figures.TASKS["figure_6"]
    chosen = choose_pairs(faces, pairs, faces.aus[pairs.target], tasks, 0)
    names = faces.expression_names
    found = [(names[faces.expression[pairs.source[k]]], names[faces.expression[pairs.target[k]]]) for k in chosen]
    assert found == tasks
    assert len(set(faces.identity[pairs.source[chosen]].tolist())) == len(tasks)


def test_a_missing_expression_pair_is_replaced_by_the_widest_change() -> None:
    """A small image split may lack a pair; its column is labelled with what it shows."""
    faces = make_faces(people=2)
    kept = ((faces.expression == 0) | (faces.expression == 1)).nonzero().flatten()
    pairs = all_pairs(faces, kept)
    wanted = faces.aus[pairs.target]
    gap = (wanted - faces.aus[pairs.source]).norm(dim=1)
    (chosen,) = choose_pairs(faces, pairs, wanted, [("happy", "sad")], 0)
    assert gap[chosen] == gap.max()


def test_no_test_pairs_is_a_clear_error() -> None:
    """Nothing to show: say what to change."""
    faces = make_faces(people=1)
    pairs = all_pairs(faces, torch.tensor([0]))
    with pytest.raises(UserError, match="no test pairs"):
        choose_pairs(faces, pairs, faces.aus[pairs.target], [("angry", "happy")], 0)


def test_a_missing_run_names_the_command_that_makes_it(tmp_path: Path) -> None:
    """Before anything is drawn."""
    wanted = "efgan train cascade_ef_gan --preset smoke --dataset synthetic_rafd --split identity --seed 3"
    with pytest.raises(UserError, match=wanted):
        FIGURES["figure_4"](Runs(tmp_path, "synthetic", "smoke", 3))
    assert not (tmp_path / "figures").exists()


def test_affectnet_triplets_show_other_people() -> None:
    """Source and desired image are different photos with the task's expressions; tasks without photos are left out."""
    faces = make_faces(people=3)
    faces = faces.subset(faces.expression != faces.expression_names.index("sad"))
    examples = affectnet_examples(faces, [("neutral", "happy"), ("sad", "happy"), ("happy", "angry")], seed=0)
    assert examples.tasks == [("neutral", "happy"), ("happy", "angry")]
    assert len({name for pair in examples.names for name in pair}) == 4
    assert torch.equal(examples.target_expression, torch.tensor([5, 1]))


def test_no_wild_faces_are_faked_for_real_data(runs: Runs) -> None:
    """A run on real data without AffectNet shows photos alone."""
    editor = runs.run("rafd", "cascade_ef_gan").editor
    data = replace(editor.config.data, dataset="rafd", data_root="nowhere")
    editor.config = replace(editor.config, data=data)
    assert wild_examples(editor, figures.TASKS["figure_8"]) is None


def test_pictures_keep_their_values_on_the_way(runs: Runs) -> None:
    """Inputs shown as uint8 are those that the networks see as floats."""
    examples = runs.examples("rafd", figures.TASKS["figure_1"])
    assert torch.equal(to_uint8(to_float(examples.images)), examples.images)


@pytest.mark.parametrize("with_brows", [False, True])
def test_the_mean_face_shows_the_boxes_of_the_preset(with_brows):
    """The eyes' box lies higher where brows count as well."""
    faces = make_faces(size=128)
    faces.landmarks[:, 17:27, 1] = 10.0
    frames = [p for axes in draw_mean_face(faces, torch.arange(len(faces)), eyes_with_brows=with_brows).axes
              for p in axes.patches if isinstance(p, Rectangle) and not p.get_fill()]  # fmt: skip
    boxes = compute_focus_boxes(faces.landmarks, 128, eyes_with_brows=with_brows)
    zoom = frames[0].get_height() / boxes["eyes"].height
    assert [frame.get_y() for frame in frames] == pytest.approx([box.top * zoom for box in boxes.values()])
