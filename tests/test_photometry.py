"""Other light and cameras: pictures vary, faces and their labels stay."""

import torch
from conftest import make_faces

from efgan.data.faces import to_float
from efgan.data.photometry import photograph, photographed


def grey_faces(n: int = 64) -> torch.Tensor:
    """Flat grey pictures with one dark square in the middle, in [-1, 1]."""
    images = torch.full((n, 3, 64, 64), 0.2)
    images[:, :, 24:40, 24:40] = -0.6
    return images


def test_photographs_differ_and_stay_in_range():
    """Every face gets its own light and camera; values stay in [-1, 1]; the input is left alone."""
    images = grey_faces(8)
    torch.manual_seed(0)
    got = photograph(images)
    assert got.shape == images.shape and got.dtype == torch.float32
    assert got.min() >= -1 and got.max() <= 1
    assert ((got[1:] - got[:1]).abs().mean((1, 2, 3)) > 0.01).all()
    assert torch.equal(images, grey_faces(8))


def test_a_feature_stays_where_it_is():
    """The dark square is dark against its surroundings in every photograph, near its place."""
    torch.manual_seed(0)
    for moved in (False, True):
        grey = photograph(grey_faces(), moved=moved).mean(1)
        assert (grey[:, 28:36, 28:36].mean((1, 2)) < grey[:, 12:52, [14, 49]].mean((1, 2))).all()


def test_unmoved_photographs_keep_edges_in_place():
    """Without movement the square's edge is at its pixel, but for blur."""
    torch.manual_seed(0)
    profile = photograph(grey_faces(256), moved=False).mean((0, 1))[28:36].mean(0)
    assert (profile[:20].mean() - profile[23]) < (profile[:20].mean() - profile[24])
    assert int((profile[:40].diff()).argmin()) in (22, 23, 24)


def test_moved_photographs_are_cropped_as_detected_faces_are():
    """A bright point is found within a few pixels of its place, on average exactly there."""
    images = torch.full((256, 3, 64, 64), -1.0)
    images[:, :, 30:34, 30:34] = 1
    torch.manual_seed(0)
    places = photograph(images).mean(1).flatten(1).argmax(1)
    rows, columns = places // 64 - 31.5, places % 64 - 31.5
    assert rows.abs().max() < 6 and columns.abs().max() < 6
    assert rows.mean().abs() < 0.6 and columns.mean().abs() < 0.6


def test_a_face_set_under_other_light_keeps_its_labels():
    """The same for the same seed, without touching torch's global random state."""
    faces = make_faces()
    torch.manual_seed(3)
    first, after = photographed(faces, seed=1), torch.rand(1)
    torch.manual_seed(3)
    assert after == torch.rand(1)
    assert torch.equal(first.images, photographed(faces, seed=1).images)
    assert not torch.equal(first.images, photographed(faces, seed=2).images)
    assert torch.equal(first.aus, faces.aus) and first.names == faces.names
    assert (to_float(first.images) - to_float(faces.images)).abs().mean() > 0.02
