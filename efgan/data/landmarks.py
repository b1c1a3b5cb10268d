"""Faces and their 68 landmarks in photos, by dlib; part of the optional extra `wild`.

dlib's detector finds upright faces (up to about 40° turned in the picture, nearly frontal); the landmark model comes in
the package `face_recognition_models` and was trained on iBUG 300-W, whose licence excludes commercial use.
"""

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from efgan.errors import UserError

_SEARCH_SIDE = 2048  # pixels; larger photos are searched at this size, so that memory and time stay bounded
_UPSAMPLE_BELOW = 1024  # pixels; smaller photos are doubled once, for faces below the detector's 80 pixels
_LEAST_SCORE = 0.3  # our decision: below it, most finds in photos were no faces


def detect_landmarks(photo: np.ndarray) -> list[np.ndarray]:
    """Finds faces and their landmarks.

    Args:
        photo: uint8, H×W×3.

    Returns:
        One float64 68×2 per face, (x, y) in photo pixels, iBUG order; faces from left to right.

    Raises:
        UserError: the extra `wild` is not installed, or no face was found.
    """
    detector, predictor = _load_models()
    shrink = max(1.0, max(photo.shape[:2]) / _SEARCH_SIDE)
    size = (round(photo.shape[1] / shrink), round(photo.shape[0] / shrink))
    searched = np.asarray(Image.fromarray(photo).resize(size, Image.Resampling.BOX)) if shrink > 1 else photo
    searched = np.ascontiguousarray(searched)
    boxes, _, _ = detector.run(searched, int(max(size) < _UPSAMPLE_BELOW), _LEAST_SCORE)
    if not boxes:
        raise UserError("no face found: the face must look at the camera, be upright (turned by 40° at most) and at "
                        "least 40 pixels wide; try a photo that is brighter or cropped closer")  # fmt: skip
    factor = np.array(photo.shape[1::-1]) / size
    faces = [
        # dlib counts pixel centres, we count from the corner
        (np.array([(p.x, p.y) for p in predictor(searched, box).parts()]) + 0.5) * factor
        for box in sorted(boxes, key=lambda box: box.left())
    ]
    return faces


@cache
def _load_models() -> tuple[Any, Any]:
    """dlib's frontal face detector and the 68-point predictor (95 MB, read once)."""
    models = find_spec("face_recognition_models")  # not imported: it needs pkg_resources, which is gone from setuptools
    try:
        import dlib
    except ImportError:
        models = None
    if models is None or not models.submodule_search_locations:
        raise UserError("finding faces in photos needs the extra 'wild': "
                        ".venv/bin/pip install -c constraints.txt -e '.[wild]'")  # fmt: skip
    path = Path(models.submodule_search_locations[0]) / "models" / "shape_predictor_68_face_landmarks.dat"
    return dlib.get_frontal_face_detector(), dlib.shape_predictor(str(path))
