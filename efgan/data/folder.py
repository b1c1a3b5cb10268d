"""Any folder of photos: labels by manifest.csv, naming.json or folder names where there are any, else none."""

from pathlib import Path

from efgan.data.action_units import CFEED_CATEGORIES
from efgan.data.naming import list_by_what_is_there
from efgan.data.photos import Listing, build_listing

EXPRESSIONS = (*CFEED_CATEGORIES, "contemptuous")


def list_folder(folder: Path) -> Listing:
    """All photos below a folder (see `efgan.data.naming`).

    A photo whose person nobody names is a person of its own; one without category has no class.

    Args:
        folder: the photos.

    Returns:
        a listing whose classes are all that the project knows; those that occur are evaluated.

    Raises:
        UserError: manifest.csv or naming.json cannot be used.
    """
    found = list(list_by_what_is_there(folder, EXPRESSIONS, labelled=False))
    listing = build_listing(found, EXPRESSIONS, ())
    occurring = {photo.expression for photo in listing.photos}
    return build_listing(found, EXPRESSIONS, tuple(n for k, n in enumerate(EXPRESSIONS) if k in occurring))
