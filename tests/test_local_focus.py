"""Where the focuses lie and how patches return to the face."""

import pytest
import torch

from efgan.models.local_focus import REGIONS, Box, FocusBoxes, compute_focus_boxes


def landmarks(eyes, nose, mouth) -> torch.Tensor:
    points = torch.zeros(1, 68, 2)
    points[:, 36:48], points[:, 27:36], points[:, 48:68] = (
        torch.tensor(p, dtype=torch.float) for p in (eyes, nose, mouth)
    )
    return points


def test_boxes_have_the_paper_sizes_and_centres():
    """40×92, 40×48 and 40×60 at 128 px, centred on the mean landmarks (paper 4.1)."""
    boxes = compute_focus_boxes(landmarks((64, 50), (64, 70), (64, 95)), 128)
    assert boxes == {"eyes": Box(30, 18, 40, 92), "nose": Box(50, 40, 40, 48), "mouth": Box(75, 34, 40, 60)}


def test_boxes_scale_with_the_image():
    """At 64 px the sizes are 20×48, 20×24 and 20×32: halves rounded to multiples of 4."""
    boxes = compute_focus_boxes(landmarks((32, 25), (32, 35), (32, 47)), 64)
    assert [box[2:] for box in boxes.values()] == [(20, 48), (20, 24), (20, 32)]


def test_centres_are_means_over_all_faces():
    """One fixed box for the whole set, not one per face."""
    both = torch.cat([landmarks((60, 48), (64, 70), (64, 90)), landmarks((68, 52), (64, 70), (64, 100))])
    assert compute_focus_boxes(both, 128) == compute_focus_boxes(landmarks((64, 50), (64, 70), (64, 95)), 128)


def test_boxes_stay_inside():
    """A box near the border is moved in, not cut."""
    box = compute_focus_boxes(landmarks((2, 2), (64, 70), (126, 126)), 128)
    assert box["eyes"][:2] == (0, 0) and box["mouth"] == Box(88, 68, 40, 60)


def test_brows_can_be_included():
    """The option moves the eyes' box up."""
    points = landmarks((64, 50), (64, 70), (64, 95))
    points[:, 17:27] = torch.tensor([64.0, 30.0])
    assert compute_focus_boxes(points, 128, eyes_with_brows=True)["eyes"].top < 30


@pytest.fixture
def focus() -> FocusBoxes:
    return FocusBoxes(compute_focus_boxes(landmarks((64, 50), (64, 70), (64, 95)), 128), 128)


def test_stitching_unchanged_crops_returns_the_image(focus):
    """Overlaps and borders included."""
    image = torch.rand(2, 3, 128, 128)
    torch.testing.assert_close(focus.stitch(focus.crop(image), image), image)


def test_stitching_changes_only_the_boxes(focus):
    """Outside of all boxes the background shows."""
    background = torch.zeros(1, 3, 128, 128)
    stitched = focus.stitch({r: torch.ones(1, 3, *focus.boxes[r][2:]) for r in REGIONS}, background)
    inside = torch.zeros(128, 128, dtype=torch.bool)
    for box in focus.boxes.values():
        inside[box.slices] = True
    assert torch.equal(stitched[0, 0] > 0, inside)
    assert stitched.max() <= 1


def test_patches_fade_at_their_rims_alone(focus):
    """Of the input a hundredth is left in the middle of a box, less than a tenth five pixels inside an edge."""
    stitched = focus.stitch({r: torch.ones(1, 3, *focus.boxes[r][2:]) for r in REGIONS}, torch.zeros(1, 3, 128, 128))
    eyes = focus.boxes["eyes"]
    column = stitched[0, 0, eyes.top : eyes.top + eyes.height // 2, 64]
    assert column[-1] >= 0.99 and column[5] > 0.9 and column[0] < 0.5
    assert (column.diff() > 0).all()
