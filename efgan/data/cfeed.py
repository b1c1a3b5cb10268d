"""CFEED (Du, Tao and Martinez 2014): 230 people, 22 categories, of which the seven primary ones are evaluated."""

from pathlib import Path

from efgan.data.action_units import CFEED_CATEGORIES, CFEED_PRIMARY
from efgan.data.naming import list_by_what_is_there
from efgan.data.photos import Listing, build_listing

COMPLETE = 5060  # 230 people × 22 categories


def list_cfeed(folder: Path) -> Listing:
    """CFEED's photos, by manifest.csv, naming.json or one folder per category (see `efgan.data.naming`).

    Args:
        folder: the set.

    Returns:
        5,060 photos when the set is complete.

    Raises:
        UserError: manifest.csv or naming.json cannot be used.

    Source: paper 4.1 (22 categories; the seven primary ones are evaluated); we have not seen the set, so the three ways
    are our decision.
    """
    return build_listing(
        list_by_what_is_there(folder, CFEED_CATEGORIES, labelled=True), CFEED_CATEGORIES, CFEED_PRIMARY
    )
