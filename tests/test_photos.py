"""The readers of RaFD, CFEED, AffectNet and any folder: names to labels, and what is left out and why."""

import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from efgan.data.action_units import CFEED_CATEGORIES, CFEED_PRIMARY, RAFD_EXPRESSIONS
from efgan.data.affectnet import list_affectnet
from efgan.data.cfeed import list_cfeed
from efgan.data.folder import list_folder
from efgan.data.photos import Listing, find_expression
from efgan.data.rafd import list_rafd
from efgan.errors import UserError


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def labels(listing: Listing) -> dict[str, tuple[str, str]]:
    """(person, class) by name."""
    names = (*listing.expression_names, "none")
    return {photo.name: (photo.person, names[photo.expression]) for photo in listing.photos}


def reasons(listing: Listing) -> dict[str, int]:
    return dict(Counter(item.reason for item in listing.excluded))


def test_rafd_is_read_from_its_file_names(tmp_path):
    """Person, class, gaze as variant, group; upper case and subfolders do not matter."""
    touch(tmp_path, "Rafd090_01_Caucasian_female_angry_frontal.jpg", "090/RAFD090_41_KID_MALE_HAPPY_LEFT.JPG",
          "Rafd090_73_Moroccan_male_surprised_right.jpg")  # fmt: skip
    photos = list_rafd(tmp_path).photos
    assert [(p.person, RAFD_EXPRESSIONS[p.expression], p.variant, p.group) for p in photos] == [
        ("01", "angry", 0, "Caucasian female"), ("41", "happy", 1, "Kid male"), ("73", "surprised", 2, "Moroccan male"),
    ]  # fmt: skip


def test_a_complete_rafd_has_1608_frontal_photos(tmp_path):
    """67 people × 8 expressions × 3 gazes; the other four cameras are left out and counted."""
    for camera in (0, 45, 90, 135, 180):
        for person in range(1, 68 if camera == 90 else 2):
            group = "Kid" if person > 60 else "Caucasian"
            touch(tmp_path, *(f"Rafd{camera:03d}_{person:02d}_{group}_female_{e}_{g}.jpg"
                              for e in RAFD_EXPRESSIONS for g in ("frontal", "left", "right")))  # fmt: skip
    listing = list_rafd(tmp_path)
    assert len(listing.photos) == 1608 and len({p.person for p in listing.photos}) == 67
    assert reasons(listing) == {f"camera {c}": 24 for c in ("000", "045", "135", "180")}
    assert listing.evaluated == RAFD_EXPRESSIONS


def test_what_is_not_rafds_is_left_out_with_a_remedy(tmp_path):
    """Other names, copies; OpenFace's own drawings are no photos at all."""
    good = "Rafd090_01_Caucasian_female_angry_frontal.jpg"
    touch(tmp_path, good, f"copy/{good}", "Rafd090_01_Caucasian_female_bored_frontal.jpg", "holiday.png",
          f"processed/{good}", f"openface/{good}", "Rafd_aligned/face_000.bmp", ".thumbs/a.jpg", "a.txt")  # fmt: skip
    listing = list_rafd(tmp_path)
    assert len(listing.photos) == 1
    assert reasons(listing) == {"no RaFD file name": 2, "there twice": 1}
    assert all(item.remedy for item in listing.excluded)


def test_cfeed_by_manifest(tmp_path):
    """Categories however they are written; a wrong row costs that photo only."""
    touch(tmp_path, "a/1.jpg", "a/2.jpg", "a/3.jpg", "a/4.jpg", "a/5.jpg")
    touch(elsewhere := tmp_path.parent / f"{tmp_path.name}_elsewhere", "1.jpg")
    (tmp_path / "manifest.csv").write_text(
        "Path, Subject, Category\na/1.jpg,7,Happily surprised\na/2.jpg,7,neutral\na/3.jpg,8,Fear\n"
        f"a/4.jpg,8,bored\na/5.jpg,,happy\na/6.jpg,9,happy\n{elsewhere}/1.jpg,9,happy\n"
    )
    listing = list_cfeed(tmp_path)
    assert labels(listing) == {"a/1": ("7", "happily_surprised"), "a/2": ("7", "neutral"), "a/3": ("8", "fearful")}
    assert reasons(listing) == {"unknown category 'bored'": 1, "no subject": 1,
                                "named in manifest.csv but not there": 2}  # fmt: skip
    assert listing.expression_names == CFEED_CATEGORIES and listing.evaluated == CFEED_PRIMARY


def test_cfeed_by_pattern(tmp_path):
    """A regular expression and a translation of its codes; paths that do not fit are left out."""
    touch(tmp_path, "S01/S01_01.jpg", "S01/S01_12.JPG", "S02/S02_01.jpg", "S02/notes.png")
    (tmp_path / "naming.json").write_text(json.dumps(
        {"pattern": r"S(?P<subject>\d+)_(?P<category>\d+)\.", "categories": {"01": "neutral", "12": "Appalled"}}
    ))  # fmt: skip
    listing = list_cfeed(tmp_path)
    assert labels(listing) == {"S01/S01_01": ("01", "neutral"), "S01/S01_12": ("01", "appalled"),
                               "S02/S02_01": ("02", "neutral")}  # fmt: skip
    assert reasons(listing) == {"path does not fit the pattern": 1}


def test_cfeed_by_category_folders(tmp_path):
    """The subject is the first number in the file name; a photo in no category's folder is left out."""
    touch(tmp_path, "Happily Disgusted/S12_b3.jpg", "sad/S12.jpg", "sad/S13.jpg", "lost.jpg")
    listing = list_cfeed(tmp_path)
    assert labels(listing) == {"Happily Disgusted/S12_b3": ("12", "happily_disgusted"), "sad/S12": ("12", "sad"),
                               "sad/S13": ("13", "sad")}  # fmt: skip
    assert reasons(listing) == {"no category": 1}


def test_cfeed_as_delivered(tmp_path):
    """Names are category, subject and shot; which category a number is, its holder says, and the remedy how to."""
    touch(tmp_path, "01-04/Images1/01_126_3963.jpg", "02_339_3470.jpg", "sad/03_339_3471.jpg")
    listing = list_cfeed(tmp_path)
    assert labels(listing) == {"sad/03_339_3471": ("339", "sad")}
    assert reasons(listing) == {"its category is a number in its name": 2}
    advised = re.search(r"naming.json: ({.*})", listing.excluded[0].remedy)
    assert advised and "AU_annotation_all_subjects.xls" in listing.excluded[0].remedy
    (tmp_path / "naming.json").write_text(advised[1].replace("…", '"02": "Happy", "03": "sad"'))
    assert labels(list_cfeed(tmp_path)) == {"01-04/Images1/01_126_3963": ("126", "neutral"), "sad/03_339_3471":
                                            ("339", "sad"), "02_339_3470": ("339", "happy")}  # fmt: skip


def test_linked_folders_are_read_once(tmp_path):
    """A read-only copy elsewhere may be linked, whole or in part; a link back does not lead in circles."""
    touch(tmp_path / "elsewhere", "01_7.jpg")
    (tmp_path / "cfeed" / "sad").mkdir(parents=True)
    (tmp_path / "cfeed" / "happy").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (tmp_path / "cfeed" / "sad" / "back").symlink_to(tmp_path / "cfeed", target_is_directory=True)
    touch(tmp_path / "cfeed", "sad/02_7.jpg")
    (tmp_path / "cfeed" / "a_copy").symlink_to(tmp_path / "cfeed" / "sad", target_is_directory=True)
    assert labels(list_cfeed(tmp_path / "cfeed")) == {"happy/01_7": ("01", "happy"), "sad/02_7": ("02", "sad")}


@pytest.mark.parametrize(("name", "content", "message"), [
    ("manifest.csv", "path,category\na.jpg,happy\n", "no column subject; it has path, category"),
    ("manifest.csv", '"\n', "not readable as CSV"),
    ("naming.json", "{", "must look like"),
    ("naming.json", '{"pattern": "("}', "must look like"),
    ("naming.json", '{"pattern": "(?P<subject>a)"}', "needs the groups"),
])  # fmt: skip
def test_unusable_naming_files_are_refused_by_name(tmp_path, name, content, message):
    """What is wrong with which file, and what it should be."""
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError) as caught:
        list_cfeed(tmp_path)
    assert message in str(caught.value) and str(tmp_path / name) in str(caught.value)


ORIGINAL = ("subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal\n"
            "1/a.jpg,1,2,90,90,1.0;2.0,1,0.5,0.5\n2/b.jpg,1,2,90,90,1.0;2.0,10,-2,-2\n"
            "2/c.jpg,1,2,90,90,1.0;2.0,7,0,0\n")  # fmt: skip


@pytest.mark.parametrize("text", [
    ORIGINAL,
    ORIGINAL.split("\n", 1)[1],  # validation.csv came without a header
    "subDirectory_filePath,expression\n1/a.jpg,1\n2/b.jpg,10\n2/c.jpg,7\n",
    "subDirectory_filePath , expression\n1/a.jpg, 1.0\n2/b.jpg, 10.0\n2/c.jpg, 7.0\n",
    "path,label\n1/a.jpg,Happiness\n2/b.jpg,10\n2/c.jpg,contempt\n",
], ids=["original", "no header", "short", "spaces", "words"])  # fmt: skip
def test_affectnet_is_read_with_every_header(tmp_path, text):
    """Numbers in AffectNet's order or words; what has no expression is left out; every photo is its own person."""
    touch(tmp_path / "Manually_Annotated" / "Images", "1/a.jpg", "2/b.jpg", "2/c.jpg", "2/unnamed.jpg")
    (tmp_path / "training.csv").write_text(text)
    listing = list_affectnet(tmp_path)
    assert labels(listing) == {"1/a": ("1/a", "happy"), "2/c": ("2/c", "contemptuous")}
    assert reasons(listing) == {"labelled 10 (no-face)": 1}


def test_affectnet_with_a_file_per_label(tmp_path):
    """The later release: photo and label have one number; a damaged label costs that photo only."""
    touch(tmp_path / "train_set" / "images", "1.jpg", "2.jpg", "4.jpg")
    (annotations := tmp_path / "train_set" / "annotations").mkdir()
    for number, label in (("1", "1"), ("2", "7"), ("3", "0")):
        np.save(annotations / f"{number}_exp.npy", np.array(label))
        np.save(annotations / f"{number}_val.npy", np.array("0.5"))
    (annotations / "4_exp.npy").write_bytes(b"")
    listing = list_affectnet(tmp_path)
    assert labels(listing) == {"train_set/images/1": ("train_set/images/1", "happy"),
                               "train_set/images/2": ("train_set/images/2", "contemptuous")}  # fmt: skip
    assert reasons(listing) == {"named in 3_exp.npy but not there": 1, "label not readable": 1}


def test_affectnet_without_annotations_or_photos_says_so(tmp_path):
    """A missing CSV is an error of the set; a missing photo of that photo; other CSVs do not matter."""
    (tmp_path / "openface.csv").write_text("file,confidence\na.jpg,1\n")
    with pytest.raises(UserError, match="no AffectNet annotations"):
        list_affectnet(tmp_path)
    touch(tmp_path / "annotations", "1_exp.npy")  # without its photos' folder
    with pytest.raises(UserError, match="no AffectNet annotations"):
        list_affectnet(tmp_path / "annotations")
    (tmp_path / "validation.csv").write_text("subDirectory_filePath,expression\n1/a.jpg,0\n1/b.jpg,99\n")
    assert reasons(list_affectnet(tmp_path)) == {"named in validation.csv but not there": 1, "unknown label '99'": 1}
    (tmp_path / "validation.csv").write_text("1/a.jpg,0\n1/b.jpg,0,0,0\n")
    with pytest.raises(UserError, match="not readable as CSV"):
        list_affectnet(tmp_path)


def test_any_folder_needs_no_labels(tmp_path):
    """A folder named like an expression labels its photos; all others have no class and everybody is their own."""
    touch(tmp_path, "1.jpg", "happy/1.jpg", "contempt/2.webp")
    listing = list_folder(tmp_path)
    assert labels(listing) == {"1": ("1", "none"), "happy/1": ("happy/1", "happy"),
                               "contempt/2": ("contempt/2", "contemptuous")}  # fmt: skip
    assert listing.evaluated == ("happy", "contemptuous")


@pytest.mark.parametrize(("word", "name"), [
    ("Angrily disgusted", "angrily_disgusted"), ("ANGER", "angry"), ("sadly-fearful", "sadly_fearful"),
    ("surprise", "surprised"), ("awe", "awed"), ("smug", None), ("", None),
])  # fmt: skip
def test_expressions_are_known_however_they_are_written(word, name):
    """Case, spaces, nouns."""
    found = find_expression(word, CFEED_CATEGORIES)
    assert (None if found is None else CFEED_CATEGORIES[found]) == name
