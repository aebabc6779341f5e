"""The parameters of requests: one value each, or a clear refusal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.security.oauth.errors import OAuthError
from hub.security.oauth.parameters import MAX_BYTES, MAX_PARAMETERS, check_form, parse_parameters


def test_each_parameter_has_its_value() -> None:
    found = parse_parameters(b"grant_type=password&username=acme%5Cana&password=a+b%26c&empty=")
    assert dict(found) == {"grant_type": "password", "username": "acme\\ana", "password": "a b&c"}


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"a=1&a=1", "a: expected one value, got several"),
        (b"a=&a=1", "a: expected one value, got several"),
        (b"a=1&%61=2", "a: expected one value, got several"),
        (b"a=%ff", "percent-encoded UTF-8"),
        (b"a=\xc3\xa9", "percent-encoded UTF-8"),
        (b"a=%00", "a: expected no control characters"),
        (b"a=%0d%0aLocation", "a: expected no control characters"),
        (b"a=" + b"x" * MAX_BYTES, f"at most {MAX_BYTES} bytes"),
        (b"&".join(b"a%d=1" % number for number in range(MAX_PARAMETERS + 1)), f"at most {MAX_PARAMETERS}"),
    ],
)
def test_what_is_malformed_is_refused(raw: bytes, said: str) -> None:
    with pytest.raises(OAuthError) as refused:
        parse_parameters(raw)
    assert refused.value.error == "invalid_request"
    assert said in refused.value.description


@given(st.binary(max_size=300))
def test_any_bytes_are_parameters_or_refused_in_plain_words(raw: bytes) -> None:
    refusal, found = "", {}
    try:
        found = dict(parse_parameters(raw))
    except OAuthError as error:
        refusal = error.description
    assert all(" " <= character <= "~" and character not in '"\\' for character in refusal)  # RFC 6749 section 5.2
    assert all(found.values())


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "Application/X-WWW-Form-URLencoded; charset=UTF-8"])
def test_a_form_is_taken(content_type: str) -> None:
    check_form(content_type)


@pytest.mark.parametrize("content_type", [None, "", "application/json", "multipart/form-data; boundary=x", 'text/"\\plain'])
def test_another_type_of_body_is_refused(content_type: str | None) -> None:
    with pytest.raises(OAuthError, match="Content-Type: expected application/x-www-form-urlencoded"):
        check_form(content_type)


@pytest.mark.parametrize(("raw", "value"), [(b"n=0", 0), (b"n=99", 99), (b"", None), (b"n=", None)])
def test_a_number_is_read(raw: bytes, value: int | None) -> None:
    assert parse_parameters(raw).number("n", 99) == value


@pytest.mark.parametrize("raw", [b"n=-1", b"n=1.5", b"n=100", b"n=1e1", b"n=%D9%A1", b"n=" + b"9" * 5000, b"n=+1"])
def test_what_is_no_number_is_refused(raw: bytes) -> None:
    with pytest.raises(OAuthError, match="n: expected a whole number from 0 to 99"):
        parse_parameters(raw).number("n", 99)
