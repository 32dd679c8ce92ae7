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


ITEM_NOT_FAILED = "item_not_failed"
ITEM_TAKEN_OUT = "item_taken_out"
ROW_NOT_REFUSED = "row_not_refused"

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
    "duplicate_in_file": Verdict(
        sentence="An earlier row of the file is for the same number or reference.",
        cure="Remove one of them, or upload with duplicates kept.",
    ),
    "duplicate_recent": Verdict(
        sentence="The team had an item for the same number or reference lately.",
        cure="Leave the row out, or upload with duplicates kept.",
    ),
    "value_missing": Verdict(
        sentence="A value that is needed is missing.",
        cure="Fill it in.",
    ),
    "value_too_long": Verdict(
        sentence="A value is too long.",
        cure="Shorten it.",
    ),
    "value_unknown": Verdict(
        sentence="A value is none of those that are allowed.",
        cure="Use one of those named.",
    ),
    "value_invalid": Verdict(
        sentence="A value is not what its column holds.",
        cure="Compare it with the template.",
    ),
    "number_malformed": Verdict(
        sentence="A value should be a number and is none.",
        cure="Write digits only; amounts are whole numbers of the smallest unit, such as cents.",
    ),
    "number_out_of_range": Verdict(
        sentence="A number is too small or too large.",
        cure="Compare it with its source; weights and sizes are above 0.",
    ),
    "too_many_entries": Verdict(
        sentence="A list has too many entries.",
        cure="Split the shipment.",
    ),
    "country_unknown": Verdict(
        sentence="The country is no code of ISO 3166-1.",
        cure="Write two letters, such as DK.",
    ),
    "currency_unknown": Verdict(
        sentence="The currency is no code of ISO 4217.",
        cure="Write three letters, such as EUR.",
    ),
    "carrier_unknown": Verdict(
        sentence="There is no such carrier.",
        cure="Use a code of the list of services.",
    ),
    "service_unknown": Verdict(
        sentence="The carrier has no such service.",
        cure="Use a code of the list of services.",
    ),
    "column_missing": Verdict(
        sentence="The row has no value under a name that is needed.",
        cure="Give it the name that the other rows have, or say what it means in the mapping.",
    ),
    "values_too_many": Verdict(
        sentence="The row has more than 2000 values.",
        cure="Leave out those that nobody reads.",
    ),
    "json_malformed": Verdict(
        sentence="The row is no valid JSON.",
        cure="Compare quotation marks, commas and brackets.",
    ),
    "json_no_object": Verdict(
        sentence="The row is no JSON object.",
        cure='Write it like {"contact_number": "+4520123456"}.',
    ),
    "json_too_deep": Verdict(
        sentence="The row is nested too deeply.",
        cure="Make it flatter.",
    ),
    "json_number_too_long": Verdict(
        sentence="A whole number has more than 64 bits, and would be rounded.",
        cure="Put it in quotation marks, as a text.",
    ),
    "formula_cell": Verdict(
        sentence="A cell is a formula, which is never worked out here.",
        cure="Paste it as a value, or remove the sign it begins with.",
    ),
    "item_unknown": Verdict(
        sentence="The batch has no item with this item_id.",
        cure="Leave item_id as it was, or empty to add the row.",
    ),
    ITEM_NOT_FAILED: Verdict(
        sentence="The item with this item_id did not fail, or is already tried again.",
        cure="Leave the row out; or empty item_id to add it once more.",
    ),
    ITEM_TAKEN_OUT: Verdict(
        sentence="The item with this item_id holds nothing any more and is not sent again.",
        cure="Leave the row out.",
    ),
    ROW_NOT_REFUSED: Verdict(
        sentence="No row is refused under this error_line, or not any more.",
        cure="Leave the row out: it was mended before; or empty error_line to add it once more.",
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
        sentence="An earlier row is for the same number or reference; both are done.",
        cure="Remove one of them if that is not wanted.",
    ),
    "duplicate_recent": Verdict(
        sentence="The team had an item for the same number or reference lately; it is done again.",
        cure="Remove the row if that is not wanted.",
    ),
    "duplicate_skipped": Verdict(
        sentence="The row was left out: an earlier one is for the same number or reference.",
        cure="Upload with duplicates kept if it is wanted.",
    ),
    "cells_missing": Verdict(
        sentence="The row has fewer cells than the header; those that are missing are empty.",
        cure="Add the missing separators; look for a line break inside a cell.",
    ),
    "postal_code_format": Verdict(
        sentence="The postal code is not written as those of its country are.",
        cure="Compare it with its source.",
    ),
    "same_file": Verdict(
        sentence="The very same file was uploaded minutes ago.",
        cure="Cancel one of the two batches, or stop what is there twice, if that was a mistake.",
    ),
    "encoding_guessed": Verdict(
        sentence="The letters are no UTF-8 and were read as Western European (Windows-1252).",
        cure="Upload it with its encoding, such as windows-1251, if they are wrong.",
    ),
    "column_guessed": Verdict(
        sentence="A column was found by a usual other name.",
        cure="Say what it means in the mapping if that is wrong.",
    ),
    "column_unknown": Verdict(
        sentence="A column is none that a shipment has, and is left out.",
        cure="Compare its name with the template.",
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

FILE_REFUSALS: dict[str, Verdict] = {
    "file_empty": Verdict(
        sentence="The file has nothing in it.",
        cure="Look whether the right file, or the right sheet, was chosen.",
    ),
    "rows_missing": Verdict(
        sentence="The file has a header but no row.",
        cure="Look whether the export was complete.",
    ),
    "header_missing": Verdict(
        sentence="The first row cannot be read as a header.",
        cure="Put the names of the columns into the first row.",
    ),
    "column_missing": Verdict(
        sentence="A needed column was found neither by its name nor by a usual other name.",
        cure="Rename a column, or say in a mapping what it means.",
    ),
    "columns_too_many": Verdict(
        sentence="The file has more than 2000 columns.",
        cure="Leave out what is not needed.",
    ),
    "mapping_ambiguous": Verdict(
        sentence="Two columns are said to mean the same.",
        cure="Give each column a meaning of its own.",
    ),
    "mapping_invalid": Verdict(
        sentence="The mapping names something that there is not.",
        cure="Compare it with the template.",
    ),
    "format_unknown": Verdict(
        sentence="The file is none of the formats that are read.",
        cure="Save it as CSV, XLSX, JSON or NDJSON.",
    ),
    "encoding_unknown": Verdict(
        sentence="The encoding that was said is none that is read.",
        cure="Say another one, such as utf-8 or windows-1251, or none.",
    ),
    "file_damaged": Verdict(
        sentence="The file is damaged or cut off.",
        cure="Export or compress it again.",
    ),
    "file_locked": Verdict(
        sentence="The spreadsheet is locked with a password.",
        cure="Save it without one.",
    ),
    "compression_bomb": Verdict(
        sentence="The file unpacks to far more than it may.",
        cure="Upload it unpacked.",
    ),
    "not_a_list": Verdict(
        sentence="The JSON is not a list of objects.",
        cure='Write [{...}, {...}] or {"data": [...]}.',
    ),
    "sheet_missing": Verdict(
        sentence="The spreadsheet has no sheet of this name.",
        cure="Use one of those named.",
    ),
    "sheet_too_large": Verdict(
        sentence="The sheet is too large to be read as a spreadsheet.",
        cure="Save it as CSV.",
    ),
    "quotes_not_closed": Verdict(
        sentence="Too many quotation marks are never closed.",
        cure="Choose the separator and the quotation marks of the export again.",
    ),
    "same_file": Verdict(
        sentence="The very same file was uploaded within the last 15 minutes.",
        cure="Use the batch that it went into.",
    ),
    "rows_refused": Verdict(
        sentence="Rows were refused, and all or nothing was asked for.",
        cure="Correct the rows named, or take the good ones.",
    ),
}
"""Files of which nothing is taken."""
