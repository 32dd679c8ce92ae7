"""Every verdict on a row: its code, a plain sentence, and the cure."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What is said about a row that is refused, or that only causes a remark."""

    sentence: str
    cure: str

    @property
    def text(self) -> str:
        """The sentence with its cure, as the row report shows it."""
        return f"{self.sentence} {self.cure}"


REFUSALS: dict[str, Verdict] = {
    "phone_missing": Verdict(
        sentence="The row has no phone number.",
        cure="Fill in contact_number.",
    ),
    "phone_scientific_notation": Verdict(
        sentence="A spreadsheet turned the phone number into scientific notation; "
        "its last digits are lost.",
        cure="Format the column as text and enter the number again.",
    ),
    "phone_no_plus": Verdict(
        sentence="The phone number does not start with + and a country code.",
        cure="Write it like +4520123456.",
    ),
    "phone_letters": Verdict(
        sentence="The phone number contains letters.",
        cure="Use digits only, after a leading +.",
    ),
    "phone_malformed": Verdict(
        sentence="The phone number contains signs that no number has.",
        cure="Write one number only, like +4520123456.",
    ),
    "phone_unknown_country": Verdict(
        sentence="The phone number starts with a country code that does not exist.",
        cure="Correct the digits after the +.",
    ),
    "phone_too_short": Verdict(
        sentence="The phone number is too short for its country.",
        cure="Add the missing digits, the area code included.",
    ),
    "phone_too_long": Verdict(
        sentence="The phone number is too long for its country.",
        cure="Remove the extra digits.",
    ),
    "phone_wrong_length": Verdict(
        sentence="No number of this country has that many digits.",
        cure="Compare the number with its source.",
    ),
    "phone_unassigned_range": Verdict(
        sentence="The phone number is in no range its country has assigned.",
        cure="Compare the number with its source.",
    ),
    "do_not_contact": Verdict(
        sentence="The phone number is on the team's do-not-contact list.",
        cure="Leave the row out; the list is kept by `batchyard dnc`.",
    ),
    "attempts_reached": Verdict(
        sentence="The phone number has been called as often as the team allows for now.",
        cure="Upload the row another day.",
    ),
    "country_not_allowed": Verdict(
        sentence="The phone number is in no country that the team allows.",
        cure="Leave the row out, or have the team's rules changed.",
    ),
    "premium_rate": Verdict(
        sentence="The phone number is premium rate, which the team does not call.",
        cure="Leave the row out, or have the team's rules changed.",
    ),
    "cells_missing": Verdict(
        sentence="The row has fewer cells than the header.",
        cure="Add the missing separators; look for a line break inside a cell.",
    ),
    "cells_extra": Verdict(
        sentence="The row has more cells than the header.",
        cure='Put cells that contain the separator in "quotes".',
    ),
    "row_too_long": Verdict(
        sentence="The row is longer than 1 MB; only its beginning is kept here.",
        cure="Shorten its cells.",
    ),
    "quote_not_closed": Verdict(
        sentence="A quotation mark at the start of a cell is never closed.",
        cure="Remove the mark, or add the closing one.",
    ),
    "nul_character": Verdict(
        sentence="The row contains a NUL character.",
        cure="Remove it, or export the file again.",
    ),
}
"""Rows that become no item."""

WARNINGS: dict[str, Verdict] = {
    "phone_unassigned_range": Verdict(
        sentence="The phone number is in no range known to be assigned; it is called all the same.",
        cure="Compare the number with its source.",
    ),
    "duplicate_in_file": Verdict(
        sentence="An earlier row has the same phone number; both are called.",
        cure="Remove one of them if that is not wanted.",
    ),
    "column_renamed": Verdict(
        sentence="A column has no name, or the name of an earlier one, and got a name of its own.",
        cure="Give every column a name of its own.",
    ),
    "webhook_url_ignored": Verdict(
        sentence="The webhook_url is not a valid http or https address and is ignored.",
        cure="Send an absolute address, such as https://example.com/hook.",
    ),
}
"""Rows that become an item all the same, and remarks on the whole upload."""
