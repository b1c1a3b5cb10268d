"""Which faces train and which test: the paper's image split, or unseen people."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from efgan.config import DataConfig
from efgan.data.faces import FaceSet
from efgan.errors import UserError
from efgan.provenance import write_atomic


@dataclass(frozen=True, kw_only=True)
class Split:
    """Positions of the training and test faces in a face set, and the SHA-256 of their names."""

    train: Tensor
    test: Tensor
    hash: str


def split_faces(faces: FaceSet, config: DataConfig) -> Split:
    """Splits a face set at random, the same way for the same `split_seed`.

    Faces without a class (random AUs) are for training only: never tested, and left out of training where
    their identity is a test identity. In a set without any class all faces count alike.

    Args:
        faces: the whole set.
        config: `split` ("image": the paper's random 90 %; "identity": no person on both sides; our decision),
            `test_fraction`, `split_seed`.

    Raises:
        UserError: too few people or photos for two sides.

    Source: paper 4.1 ("randomly sample 90 % for training"); the identity split is our decision.
    """
    generator = torch.Generator().manual_seed(config.split_seed)
    classed = faces.classed
    if config.split == "identity":
        people = faces.identity.unique()
        count = max(1, round(config.test_fraction * len(people)))
        chosen = people[torch.randperm(len(people), generator=generator)[:count]]
        of_test = torch.isin(faces.identity, chosen)
    else:
        candidates = classed.nonzero().flatten()
        count = max(1, round(config.test_fraction * len(candidates)))
        of_test = torch.zeros(len(faces), dtype=torch.bool)
        of_test[candidates[torch.randperm(len(candidates), generator=generator)[:count]]] = True
    train, test = (~of_test).nonzero().flatten(), (of_test & classed).nonzero().flatten()
    if not len(train) or not len(test):
        raise UserError(f"{faces.name} is too small for the {config.split} split: {len(faces)} faces of "
                        f"{len(faces.identity.unique())} people leave none for training or testing")  # fmt: skip
    names = [[faces.names[i] for i in part.tolist()] for part in (train, test)]
    return Split(train=train, test=test, hash=hashlib.sha256(json.dumps(names).encode()).hexdigest())


def save_split(split: Split, faces: FaceSet, path: Path) -> None:
    """Writes the names of both sides and the hash as JSON."""
    sides = {side: [faces.names[i] for i in getattr(split, side).tolist()] for side in ("train", "test")}
    with write_atomic(path) as file:
        json.dump({"hash": split.hash, **sides}, file, indent=0)
