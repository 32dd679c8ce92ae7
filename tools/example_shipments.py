"""Shipments for `examples/shipments.json`: real places, made-up people, seeded."""

import json
import unicodedata
from dataclasses import dataclass
from random import Random

SEED = "examples 1 shipments"


@dataclass(frozen=True, kw_only=True, slots=True)
class Land:
    """What shipments to a country are made of."""

    count: int
    places: str
    refused: str
    """Real places whose postal codes start with 99: the sandbox refuses them."""
    streets: str
    first: str
    last: str
    companies: str
    carriers: str
    currency: str
    tax_percent: int
    phones: str = ""
    """Numbers kept for fiction, where the country has them."""


LANDS = {
    "DK": Land(
        count=70,
        places="1050 København K|2100 København Ø|2200 København N|2300 København S|"
        "2800 Kongens Lyngby|3000 Helsingør|3400 Hillerød|4000 Roskilde|4200 Slagelse|4600 Køge|"
        "4700 Næstved|5000 Odense C|5700 Svendborg|6000 Kolding|6400 Sønderborg|7100 Vejle|"
        "7400 Herning|8000 Aarhus C|8200 Aarhus N|8600 Silkeborg|8800 Viborg|9000 Aalborg|"
        "9400 Nørresundby|9800 Hjørring",
        refused="9900 Frederikshavn|9990 Skagen",
        streets="Nørregade|Søndergade|Åboulevarden|Skovvej|Østre Allé|Kirkestræde|Strandvejen",
        first="Åse|Søren|Mette|Jørgen|Kirsten|Bjørn|Freja|Ærø|Lærke|Magnus|Zoë",
        last="Østergaard|Sørensen|Kjær|Højgaard|Nørgaard|Bæk|Jensen|Møller-Åkjær",
        companies="Skovens Børnehave|Kjær & Søn ApS|Café Nørreport",
        carriers="postnord|gls|dao|bring|dhl",
        currency="DKK",
        tax_percent=25,
    ),
    "SE": Land(
        count=45,
        places="111 20 Stockholm|114 34 Stockholm|411 03 Göteborg|211 20 Malmö|753 20 Uppsala|"
        "582 22 Linköping|703 61 Örebro|722 11 Västerås|252 20 Helsingborg|553 16 Jönköping|"
        "903 26 Umeå|222 22 Lund|652 24 Karlstad|392 32 Kalmar|831 30 Östersund",
        refused="",
        streets="Storgatan|Kungsgatan|Östra Ågatan|Södra Vägen|Björkgatan|Järnvägsgatan",
        first="Åsa|Göran|Märta|Linnéa|Håkan|Sören|Ebba|Nils|Örjan",
        last="Sjöström|Åkesson|Öberg|Lindqvist|Nyström|Bergström|Hägg",
        companies="Öbergs Rör AB|Sjöströms Cykel AB",
        carriers="postnord|dhl|bring",
        currency="SEK",
        tax_percent=25,
        phones="+467017406##|+46846500450|+46313900650",
    ),
    "NO": Land(
        count=30,
        places="0150 Oslo|0253 Oslo|0566 Oslo|5003 Bergen|5014 Bergen|7011 Trondheim|"
        "4006 Stavanger|4013 Stavanger|3015 Drammen|1606 Fredrikstad|3717 Skien|6003 Ålesund|"
        "8006 Bodø|9008 Tromsø|2317 Hamar|2609 Lillehammer",
        refused="9900 Kirkenes",
        streets="Storgata|Kongens gate|Strandgaten|Bjørnsons vei|Øvre Slottsgate|Fjordveien",
        first="Øyvind|Solveig|Håkon|Åshild|Bjørg|Ola|Ingrid|Sølvi",
        last="Bø|Hårstad|Sæther|Ødegård|Fjeld|Lunde|Nygård",
        companies="Fjell & Fjord AS|Sæther Optikk",
        carriers="bring|postnord",
        currency="NOK",
        tax_percent=0,
    ),
    "FI": Land(
        count=25,
        places="00100 Helsinki|00120 Helsinki|00530 Helsinki|02100 Espoo|33100 Tampere|"
        "20100 Turku|90100 Oulu|40100 Jyväskylä|70100 Kuopio|15110 Lahti|28100 Pori|65100 Vaasa|"
        "96200 Rovaniemi|80100 Joensuu|53100 Lappeenranta|06100 Porvoo",
        refused="99800 Ivalo",
        streets="Mannerheimintie|Hämeenkatu|Yliopistonkatu|Kirkkokatu|Satamakatu|Käpytie",
        first="Päivi|Väinö|Aino|Jyrki|Hillevi|Mikko|Sirkka|Eero",
        last="Mäkinen|Hämäläinen|Järvinen|Könönen|Virtanen|Särkkä",
        companies="Järven Kirja Oy|Mäkisen Pyörä Oy",
        carriers="postnord|bring|dhl",
        currency="EUR",
        tax_percent=25,
    ),
    "DE": Land(
        count=30,
        places="10115 Berlin|10435 Berlin|20095 Hamburg|22765 Hamburg|80331 München|50667 Köln|"
        "60311 Frankfurt am Main|70173 Stuttgart|40213 Düsseldorf|04109 Leipzig|01067 Dresden|"
        "28195 Bremen|30159 Hannover|90402 Nürnberg|24937 Flensburg|23552 Lübeck|24103 Kiel|"
        "48143 Münster|18055 Rostock",
        refused="99084 Erfurt|99423 Weimar",
        streets="Hauptstraße|Bahnhofstraße|Große Bleichen|Schönhauser Allee|Königsallee|Mühlenweg",
        first="Jürgen|Käthe|Sören|Greta|Łukasz|Zeynep|Björn|Änne|Jiří",
        last="Müller|Weiß|Großmann|Żółkiewski|Öztürk|Köhler|Dvořák|Schäfer",
        companies="Köhler & Söhne GmbH|Buchladen am Fleet",
        carriers="dhl|gls|postnord",
        currency="EUR",
        tax_percent=19,
        phones="+4930231250##|+4969900090##|+4940669690##",
    ),
}

SERVICES = {
    "postnord": "home|servicepoint|servicepoint|return",
    "gls": "home|parcelshop|parcelshop|return",
    "dao": "home|parcelshop|parcelshop|return",
    "bring": "home|pickup|pickup|return",
    "dhl": "home|servicepoint|servicepoint|return",
}

# Goods: SKU, description, grams, euro cents without tax, HS code, country of origin.
GOODS = (
    ("TEA-100", "Oolong tea, 100 g", 130, 890, "090230", "TW"),
    ("MUG-02", "Stoneware mug, hand glazed", 420, 1890, "691200", "PT"),
    ("SCK-M", "Wool socks, size M", 95, 1450, "611594", "DK"),
    ("BLK-A4", "Sketchbook A4, 120 pages", 610, 1290, "482010", "SE"),
    ("LMP-OAK", "Desk lamp, oiled oak", 1850, 7900, "940521", "DK"),
    ("THR-140", "Lambswool throw, 140 by 200 cm", 980, 8950, "630120", "NO"),
    ("KNF-18", "Chef's knife, 18 cm", 240, 6400, "821192", "JP"),
)
UNITS_PER_EURO_CENT = {"EUR": 1, "DKK": 7.45, "SEK": 11.2, "NOK": 11.6}
REFUSED_SHARE = {"DK": 3, "NO": 1, "FI": 1, "DE": 2}
"""How many shipments go to a place the sandbox refuses."""


def make_shipments() -> bytes:
    """Return the body of one request that adds all shipments to a batch."""
    random = Random(SEED)  # noqa: S311  # example data
    lands = [code for code, land in LANDS.items() for _ in range(land.count)]
    refused_left = dict(REFUSED_SHARE)
    shipments = []
    random.shuffle(lands)
    for number, code in enumerate(lands, start=1):
        places = LANDS[code].places
        if refused_left.get(code, 0) and number > 10:
            refused_left[code] -= 1
            places = LANDS[code].refused
        shipments.append(_shipment(random, number=number, code=code, places=places))
    text = json.dumps({"data": shipments}, ensure_ascii=False, indent=1)
    return f"{text}\n".encode()


def _shipment(random: Random, *, number: int, code: str, places: str) -> dict[str, object]:
    land = LANDS[code]
    parcels = [
        _parcel(random, land=land, reference=f"WEB-{24000 + number}/{index}")
        for index in range(1, random.choice((1, 1, 1, 2, 2, 3)) + 1)
    ]
    carrier = random.choice(land.carriers.split("|"))
    service = random.choice(SERVICES[carrier].split("|"))
    shipping = round(590 * UNITS_PER_EURO_CENT[land.currency])
    delivery: dict[str, object] = {"carrier": carrier, "service": service}
    if code == "NO":
        delivery["incoterm"] = random.choice(("DAP", "DDP"))
    return {
        "currency": land.currency,
        "weight_unit": "g",
        "dimension_unit": "cm",
        "reference": f"WEB-{24000 + number}",
        "identifier": f"order-{24000 + number}",
        "delivery": delivery,
        "parties": {"receiver": _receiver(random, land=land, code=code, places=places)},
        "parcels": parcels,
        "total_net_amount": sum(_whole(parcel["total_net_amount"]) for parcel in parcels),
        "tax_amount": sum(_whole(parcel["tax_amount"]) for parcel in parcels),
        "shipping_net_amount": shipping,
        "shipping_tax_amount": shipping * land.tax_percent // 100,
    }


def _whole(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError(value)
    return value


def _receiver(random: Random, *, land: Land, code: str, places: str) -> dict[str, object]:
    place = random.choice(places.split("|")).split(" ")
    cut = 2 if code == "SE" else 1
    name = (random.choice(land.first.split("|")), random.choice(land.last.split("|")))
    lines = [f"{random.choice(land.streets.split('|'))} {random.randrange(1, 140)}"]
    if random.random() < 0.2:
        lines.append(
            random.choice(("2. sal tv", "c/o Holm", "Opg. B, 3.")) if code == "DK" else "2"
        )
    contact: dict[str, object] = {"name_lines": [" ".join(name)]}
    if random.random() < 0.25:
        contact["company"] = random.choice(land.companies.split("|"))
    contact["email"] = f"{_plain(name[0])}.{_plain(name[1])}@example.com"
    if land.phones:
        pattern = random.choice(land.phones.split("|"))
        # Sweden's range starts at 05, so both digits stay above it.
        contact["phone"] = "".join(str(random.randrange(1, 10)) if c == "#" else c for c in pattern)
    return {
        "address": {
            "address_lines": lines,
            "postal_code": " ".join(place[:cut]),
            "city": " ".join(place[cut:]),
            "country": code,
        },
        "contact": contact,
    }


def _plain(name: str) -> str:
    spelled = name.lower().translate(str.maketrans("øæåłß", "oeals"))
    apart = unicodedata.normalize("NFKD", spelled)
    return "".join(char for char in apart if char.isascii() and char.isalnum())


def _parcel(random: Random, *, land: Land, reference: str) -> dict[str, object]:
    rate = UNITS_PER_EURO_CENT[land.currency]
    items = []
    for sku, what, grams, cents, hs_code, origin in random.sample(GOODS, random.choice((1, 1, 2))):
        items.append(
            {
                "sku": sku,
                "description": what,
                "quantity": random.choice((1, 1, 1, 2, 3)),
                "net_weight": grams,
                "unit_net_amount": round(cents * rate),
                "country_of_origin": origin,
                "hs_code": hs_code,
            }
        )
    net = sum(_whole(i["quantity"]) * _whole(i["unit_net_amount"]) for i in items)
    packaging = 120
    return {
        "reference": reference,
        "gross_weight": sum(_whole(i["quantity"]) * _whole(i["net_weight"]) for i in items)
        + packaging,
        "length": random.choice((25, 30, 40)),
        "width": random.choice((18, 20, 30)),
        "height": random.choice((6, 10, 15, 25)),
        "total_net_amount": net,
        "tax_amount": net * land.tax_percent // 100,
        "items": items,
    }
