"""Cases of the corpus in which it is hard to tell how the file is written."""

from tests.intake.cases import GOOD, OTHER, Case, csv


def dialects() -> list[Case]:
    """Return CSV files of one dialect that look like another."""
    return [
        Case(
            name="commas-in-semicolon-header.csv",
            content=csv("phone;note (a,b,c)", f"{GOOD};x", f"{OTHER};y"),
            accepted=2,
        ),
        Case(
            name="bars-in-tab-header.csv",
            content=csv("Tlf. nr.\tkind (a|b|c), in short", f"{GOOD}\ta"),
            accepted=1,
        ),
        Case(
            # Four words between commas are other names too; the column's own name says more.
            name="names-in-semicolon-header.csv",
            content=csv("contact_number;by mobile,tel,cell,phone", f"{GOOD};x"),
            accepted=1,
        ),
        Case(
            name="quotes-with-backslashes.csv",
            content=csv(
                "contact_number,name",
                f'{GOOD},"Bo \\"The Boss\\", Ek"',
                f'{OTHER},"Al; C:\\\\dir\\\\"',
            ),
            accepted=2,
        ),
        Case(
            name="backslash-at-the-end.csv",
            content=csv("folder,contact_number", f'"C:\\dir\\",{GOOD}', f'"D:\\",{OTHER}'),
            accepted=2,
        ),
        Case(
            name="shipment-commas-in-semicolon-header.csv",
            kind="shipment",
            content=csv(
                "valuta;transporter;product;navn;adresse;by;land;note (a,b,c,d,e,f,g,h,i)",
                "DKK;postnord;home;Bo;Vej 1;By;DK;x",
            ),
            accepted=1,
        ),
    ]
