"""Our check of signatures agrees with the vendor's own, on random addresses and forms."""

import string

from hypothesis import given, settings
from hypothesis import strategies as st
from twilio.request_validator import RequestValidator

from batchyard.providers.twilio_signature import is_signed, sign

VECTOR_URL = "https://mycompany.com/myapp.php?foo=1&bar=2"
VECTOR_FORM = {
    "CallSid": "CA1234567890ABCDE",
    "Digits": "1234",
    "From": "+14158675309",
    "To": "+18005551212",
    "Caller": "+14158675309",
}

hosts = st.from_regex(r"[a-z][a-z0-9-]{0,20}\.example", fullmatch=True)
ports = st.sampled_from(["", ":80", ":443", ":8443"])
paths = st.text(string.ascii_letters + string.digits + "-_.~/%", max_size=40).map("/{}".format)
queries = st.sampled_from(["", "?a=1", "?foo=1&bar=%20x", "?bodySHA256=0"])
urls = st.builds(
    "{}://{}{}{}{}".format, st.sampled_from(["http", "https"]), hosts, ports, paths, queries
)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
forms = st.dictionaries(st.text(string.ascii_letters, min_size=1, max_size=12), texts, max_size=8)
tokens = st.text(string.hexdigits, min_size=1, max_size=32)


class Several(dict[str, list[str]]):
    """A form with several values to a name, as the vendor's library takes it."""

    def getall(self, name: str) -> list[str]:
        return self[name]


def pairs(form: dict[str, str]) -> list[tuple[str, str]]:
    return list(form.items())


def test_vector_of_the_vendor() -> None:
    expected = "RSOYDt4T1cUTdK1PDd93/VVr8B8="
    assert sign("12345", VECTOR_URL, pairs(VECTOR_FORM)) == expected
    assert is_signed("12345", VECTOR_URL, pairs(VECTOR_FORM), expected)


@settings(max_examples=150)
@given(url=urls, form=forms, token=tokens)
def test_what_the_vendor_signs_is_believed(url: str, form: dict[str, str], token: str) -> None:
    signature = RequestValidator(token).compute_signature(url, form)
    assert is_signed(token, url, pairs(form), signature)


@settings(max_examples=150)
@given(url=urls, signed_url=urls, form=forms, signed=forms, token=tokens, other=tokens)
def test_both_refuse_and_believe_alike(
    *,
    url: str,
    signed_url: str,
    form: dict[str, str],
    signed: dict[str, str],
    token: str,
    other: str,
) -> None:
    vendor = RequestValidator(token)
    for about, by, over in ((signed, token, url), (form, other, url), (form, token, signed_url)):
        signature = RequestValidator(by).compute_signature(over, about)
        assert is_signed(token, url, pairs(form), signature) == vendor.validate(
            url, form, signature
        )


@settings(max_examples=80)
@given(url=urls, name=st.sampled_from(["Event", "A"]), values=st.lists(texts, min_size=1))
def test_several_values_of_a_name_are_signed_once_each(
    url: str, name: str, values: list[str]
) -> None:
    signature = RequestValidator("t").compute_signature(url, Several({name: values}))
    assert is_signed("t", url, [(name, value) for value in values], signature)


def test_empty_and_added_fields_count() -> None:
    form = pairs(VECTOR_FORM)
    signature = sign("12345", VECTOR_URL, form)
    assert not is_signed("12345", VECTOR_URL, [*form, ("Empty", "")], signature)
    assert not is_signed("12345", VECTOR_URL, form[1:], signature)
    assert not is_signed("12345", VECTOR_URL, form, "")
    assert not is_signed("12345", VECTOR_URL, form, "æ")
