"""Code lists of the outside world, as Babel carries them."""

from functools import cache

from babel import Locale
from babel.core import get_global

# What CLDR lists beside ISO 3166-1: unions, unassigned and exceptionally reserved codes.
_NO_COUNTRIES = frozenset(
    ("AC", "CP", "CQ", "DG", "EA", "EU", "EZ", "IC", "QO", "TA", "UN", "XA", "XB", "XK", "ZZ")
)


@cache
def countries() -> frozenset[str]:
    """Return the alpha-2 codes of ISO 3166-1."""
    codes = (str(code) for code in Locale("en").territories)
    return frozenset(code for code in codes if len(code) == 2 and code.isalpha()) - _NO_COUNTRIES


@cache
def currencies() -> frozenset[str]:
    """Return the codes of ISO 4217 that are money somewhere today."""
    by_territory = get_global("territory_currencies")
    return frozenset(
        code
        for known in by_territory.values()
        for code, _, ended, is_tender in known
        if ended is None and is_tender
    )
