"""Is the edited face still the same person?

No face-recognition weights can be shipped, so a classifier learns to tell the training people apart, and its logits
describe the test people: is the nearest of the real test people the source? Read the number beside the copy control's.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from efgan.data.faces import FaceSet
from efgan.evaluation.protocol import Pairs


def gallery_rows(faces: FaceSet, reference: Tensor) -> Tensor:
    """The positions in `reference` of neutral faces (of the first evaluated class if there is no neutral)."""
    expression = faces.expression.cpu()[reference]
    name = "neutral" if "neutral" in faces.evaluated else faces.evaluated[0]
    return reference[expression == faces.expression_names.index(name)]


def identity_retrieval(
    faces: FaceSet, pairs: Pairs, features: Tensor, reference: Tensor, reference_features: Tensor
) -> float | None:
    """Share of edits whose nearest neutral real face, by cosine, is of the source's identity.

    The gallery of an edit leaves out the source's own variant where that person has another one: otherwise
    pose, light and background would give the answer away.

    Args:
        pairs: P edits.
        features: P×D, of the edits: the identity classifier's logits.
        reference: positions of the R real test faces.
        reference_features: R×D, of those.

    Returns:
        a fraction, or None where there are fewer than two people or no neutral faces.
    """
    in_gallery = torch.isin(reference, gallery_rows(faces, reference))
    rows, gallery = reference[in_gallery], reference_features[in_gallery]
    identity, variant = faces.identity.cpu(), faces.variant.cpu()
    if len(identity[rows].unique()) < 2 or len(pairs) == 0:
        return None
    centre = gallery.mean(0)
    similarity = F.normalize(features - centre, dim=1) @ F.normalize(gallery - centre, dim=1).T
    same_person = identity[pairs.source][:, None] == identity[rows]
    same_picture = same_person & (variant[pairs.source][:, None] == variant[rows])
    other_variant = (same_person & ~same_picture).any(1, keepdim=True)
    nearest = similarity.masked_fill(same_picture & other_variant, -2).argmax(1)
    known = same_person.any(1)
    right = identity[rows][nearest] == identity[pairs.source]
    return float(right[known].double().mean()) if bool(known.any()) else None
