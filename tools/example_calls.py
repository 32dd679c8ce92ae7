"""Contacts for `examples/calls.csv`: realistic, seeded, and nobody's number.

Numbers are of ranges that regulators keep for fiction; the rows that only warn are of ranges
without subscribers.
"""

import csv
import io
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from random import Random

Row = list[str]

SEED = "examples 1 calls"
CONTACTS = 1000
DUPLICATES = 3
FIRST_DAY = date(2026, 12, 1)

HEADER = (
    *("contact_number", "first_name", "last_name", "company", "city", "country", "language"),
    *("appointment", "amount", "currency", "account_ref", "note"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Country:
    """What contacts of a country are made of; lists are texts parted by a vertical bar."""

    weight: int
    numbers: str
    """Ranges kept for fiction (# is any digit), as they are written internationally."""
    first: str
    last: str
    companies: str
    cities: str
    language: str
    currency: str
    is_comma_decimal: bool = False


COUNTRIES = {
    # North American Numbering Plan: 555-0100 to 555-0199 in every area code.
    "US": Country(
        weight=26,
        numbers="+1 212 555 01##|+1 312 555 01##|+1 415 555 01##|+1 206 555 01##|+1 617 555 01##",
        first="Emma|Liam|Olivia|Noah|Ava|José|Zoë|Michael|Renée|Tyler|Grace|Ethan|Sofía|Jamal",
        last="Smith|Johnson|O'Connor|García|Nguyen|Washington|Peña|Miller|Lee|Brown|Kowalski",
        companies="Hudson Freight, Inc.|Lakeside Dental, LLC|Bluebird Bakery|Pacific Solar, Inc.",
        cities="New York|Chicago|San Francisco|Seattle|Boston",
        language="en",
        currency="USD",
    ),
    "CA": Country(
        weight=8,
        numbers="+1 416 555 01##|+1 604 555 01##|+1 514 555 01##",
        first="Chloé|Étienne|Sarah|Benoît|Émilie|Lucas|Hannah|François",
        last="Tremblay|Côté|Bélanger|MacDonald|Lévesque|Wilson|Singh",
        companies="Érable & Fils, Ltée|Maple Leaf Plumbing Ltd.|Atelier Boréal",
        cities="Toronto|Vancouver|Montréal",
        language="en",
        currency="CAD",
    ),
    # Ofcom, numbers for drama.
    "GB": Country(
        weight=20,
        numbers="+44 20 7946 0###|+44 113 496 0###|+44 121 496 0###|+44 131 496 0###|"
        "+44 161 496 0###|+44 191 498 0###",
        first="Amelia|Oliver|Siân|Harry|Zoë|Callum|Priya|Niamh|George|Chloë|Isla|Arthur",
        last="Taylor|Davies|Llewellyn-Jones|Patel|O'Brien|MacLeod|Hughes|Brontë|Clarke",
        companies="Harper, Reid & Co.|Thistle Lettings Ltd|Northgate Motors|Penrose Interiors",
        cities="London|Leeds|Birmingham|Edinburgh|Manchester|Newcastle upon Tyne",
        language="en",
        currency="GBP",
    ),
    # Bundesnetzagentur, numbers for media productions.
    "DE": Country(
        weight=18,
        numbers="+49 30 23125 ###|+49 69 90009 ###|+49 40 66969 ###|+49 221 4710 ###|"
        "+49 89 99998 ###|+49 171 39200 ##|+49 176 040690 ##",
        first="Jürgen|Änne|Lukas|Sören|Käthe|Björn|Greta|Matthäus|Leonie|Jörg|Zeynep|Paul",
        last="Müller|Schäfer|Weiß|Großmann|Özdemir|Köhler|Becker|Fröhlich|Jäger|Yildiz",
        companies="Müller, Weiß & Partner GmbH|Bäckerei Köhler|Solartechnik Nord GmbH & Co. KG|"
        "Jäger Optik",
        cities="Berlin|Frankfurt am Main|Hamburg|Köln|München",
        language="de",
        currency="EUR",
        is_comma_decimal=True,
    ),
    # Arcep, numbers for audiovisual works.
    "FR": Country(
        weight=11,
        numbers="+33 1 99 00 ## ##|+33 2 61 91 ## ##|+33 3 53 01 ## ##|+33 4 65 71 ## ##|"
        "+33 5 36 49 ## ##",
        first="Zoé|Léo|Gaëlle|François|Anaïs|Jérôme|Maëlys|Théo|Hélène|Noël",
        last="Lefèvre|Béranger|Château|Dupré|Besançon|Martin|L'Hermitte|Günther",
        companies="Lefèvre, Dupré et Associés|Boulangerie Besançon|Vélo Cité SARL",
        cities="Paris|Rennes|Lille|Marseille|Toulouse",
        language="fr",
        currency="EUR",
        is_comma_decimal=True,
    ),
    # Post- och telestyrelsen, numbers for films and books.
    "SE": Country(
        weight=11,
        numbers="+46 70 174 06 7#|+46 70 174 06 8#|+46 31 390 06 1#|+46 31 390 06 5#|"
        "+46 40 628 04 ##|+46 8 465 004 ##|+46 980 319 2 ##",
        first="Åsa|Björn|Märta|Göran|Elin|Håkan|Linnéa|Sören|Saga|Östen",
        last="Sjöström|Åkesson|Lindqvist|Öberg|Bergström|Nyström|Hägg|Käck",
        companies="Öbergs Rör, El & Bygg AB|Sjöströms Cykel AB|Norrskenet Spa",
        cities="Stockholm|Göteborg|Malmö|Kiruna",
        language="sv",
        currency="SEK",
        is_comma_decimal=True,
    ),
    # ACMA, numbers for creative works.
    "AU": Country(
        weight=6,
        numbers="+61 2 5550 ####|+61 3 7010 ####|+61 7 5550 ####|+61 8 7010 ####",
        first="Matilda|Jack|Isla|Cooper|Zara|Noah|Chloé|Angus",
        last="Williams|Nguyen|O'Reilly|Papadopoulos|Campbell|Hall",
        companies="Wattle & Daughters, Pty Ltd|Reef Dental|Outback Solar Pty Ltd",
        cities="Sydney|Melbourne|Brisbane|Adelaide",
        language="en",
        currency="AUD",
    ),
}

# Possible lengths in ranges that no subscriber has: drama ranges the number library does not list
# (GB, FR, IE), and ranges that are not given out (DK, NO, FI, NL).
WARNED = (
    ("GB", "+44 7700 900 461"),
    ("FR", "+33 6 39 98 42 17"),
    ("IE", "+353 20 912 3364"),
    ("IE", "+353 20 913 5528"),
    ("DK", "+45 12 34 56 71"),
    ("NO", "+47 17 12 34 56"),
    ("FI", "+358 11 9999 923"),
    ("NL", "+31 81 234 5678"),
)

FAULTS = (
    # no plus
    *("4510123456", "2125550147", "07700 900123", "0046701740612", "49 30 23125 881", "6125550123"),
    # too short
    *("+4512", "+1 212 555", "+44 20 79", "+49 30", "+33 1 99"),
    # letters
    *("+1 212 555 CALL", "+44 20 7946 O123", "n/a", "+49 30 23125 x12", "ring på mobilen"),
    # what a spreadsheet makes of a number
    *("1.23E+11", "4.47701E+11", "+4,67017E+10", "1.21255E+10", "3.31990E+10"),
    # empty
    *("", "", "", ""),
    # no such country code
    *("+999 12 34 56 78", "+210 5550 1234", "+259 555 0123", "+801 234 5678", "+384 1234 5678"),
)

WAYS = ("'{}{}{}", "{} {} {}", "{}-{}-{}", "{} ({}) {}")
"""What intake forgives in a number."""

NOTES = (
    "Prefers mornings",
    'Asked for "the manager", not a colleague',
    "Speaks English, Danish and some German",
    "Call back after 4 p.m., not before",
    "New address: Storgatan 4, 2nd floor",
)


def make_calls() -> bytes:
    """Return the file of contacts: a BOM, CRLF line ends, quotes where needed."""
    random = Random(SEED)  # noqa: S311  # example data
    faulty = [_contact(random, number=number) for number in FAULTS]
    warned = [_contact(random, number=n, country=c) for c, n in WARNED]
    taken: set[str] = set()
    ordinary: list[Row] = []
    while len(ordinary) < CONTACTS - len(faulty) - len(warned) - DUPLICATES:
        row = _contact(random)
        digits = "".join(filter(str.isdigit, row[0]))
        if digits not in taken:
            taken.add(digits)
            ordinary.append(row)
    repeated = [list(row) for row in ordinary[: 80 * DUPLICATES : 80]]
    for index in range(10, len(ordinary), 30):
        ordinary[index][0] = _as_people_write(random, ordinary[index][0])
    rows = ordinary + faulty + warned
    random.shuffle(rows)
    rows += repeated
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(HEADER)
    writer.writerows(rows)
    return text.getvalue().encode("utf-8-sig")


def _contact(random: Random, *, number: str | None = None, country: str | None = None) -> Row:
    codes = tuple(COUNTRIES)
    home = random.choices(codes, weights=[c.weight for c in COUNTRIES.values()])[0]
    made_of = COUNTRIES[country if country in COUNTRIES else home]
    if number is None:
        number = _number(random, made_of).replace(" ", "")
    return [
        number,
        random.choice(made_of.first.split("|")),
        random.choice(made_of.last.split("|")),
        random.choice(made_of.companies.split("|")) if random.random() < 0.6 else "",
        random.choice(made_of.cities.split("|")) if country in {None, *COUNTRIES} else "",
        country or home,
        made_of.language,
        _appointment(random),
        _amount(random, made_of),
        made_of.currency,
        f"AC-{random.randrange(10**6):06d}",
        random.choice(NOTES) if random.random() < 0.12 else "",
    ]


def _number(random: Random, country: Country) -> str:
    pattern = random.choice(country.numbers.split("|"))
    return "".join(str(random.randrange(10)) if char == "#" else char for char in pattern)


def _as_people_write(random: Random, number: str) -> str:
    return random.choice(WAYS).format(number[:3], number[3:6], number[6:])


def _appointment(random: Random) -> str:
    day = FIRST_DAY + timedelta(days=random.choice((0, 1, 2, 3, 6, 7, 8, 9, 10, 13, 14, 15, 16)))
    at = time(random.randrange(8, 17), random.choice((0, 15, 30, 45)))
    return datetime.combine(day, at).strftime("%Y-%m-%d %H:%M")


def _amount(random: Random, country: Country) -> str:
    amount = f"{random.choice((49, 120, 380, 950, 1480, 2600)) + random.randrange(100) / 100:,.2f}"
    if country.is_comma_decimal:
        return amount.translate(str.maketrans(",.", ".,"))
    return amount
