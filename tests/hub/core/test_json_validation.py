"""The guard in front of every JSON parser."""

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.core.json_validation import BadJsonError, check_syntax, commas, guard, replace_lone_surrogates

DEPTH = 64

texts = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
)
brackets = st.text(st.sampled_from('[]{}"\\,:é'), max_size=12)


def depth_of(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max((depth_of(inner) for inner in value.values()), default=0)
    if isinstance(value, list):
        return 1 + max((depth_of(inner) for inner in value), default=0)
    return 0


def test_ascii_is_returned_as_it_is() -> None:
    payload = b'{"a":[1, 2.50,"\\u00e9"]}'
    assert guard(payload, DEPTH) is payload


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"é"', b'"\\u00e9"'),
        ('"€"', b'"\\u20ac"'),
        ('"😀"', b'"\\ud83d\\ude00"'),
        ('"\u2028"', b'"\\u2028"'),
        ('"é\\n\\\\\\"/\x7f"', b'"\\u00e9\\n\\\\\\"/\\u007f"'),
        ('{\n\t"é" :\r\n1.10}', b'{\n\t"\\u00e9" :\r\n1.10}'),
    ],
)
def test_what_is_not_ascii_is_escaped_and_all_else_kept(text: str, expected: bytes) -> None:
    assert guard(text.encode(), DEPTH) == expected


@given(values, st.booleans(), st.sampled_from([None, 1]))
def test_the_value_stays_the_same(value: Any, ascii_only: bool, indent: int | None) -> None:
    payload = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()
    guarded = guard(payload, 1000)
    assert guarded.isascii()
    assert json.loads(guarded) == value


@given(st.recursive(brackets, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(brackets, inner, max_size=3)), st.integers(0, 4))
def test_depth_is_that_of_the_value_and_not_of_brackets_in_texts(value: Any, limit: int) -> None:
    payload = json.dumps(value).encode()
    if depth_of(value) <= limit:
        assert guard(payload, limit) == payload
    else:
        with pytest.raises(BadJsonError, match=f"at most {limit} levels"):
            guard(payload, limit)


@pytest.mark.parametrize(
    "payload",
    [
        b'\xef\xbb\xbf{"a":1}',  # byte order mark
        b'"\xff"',
        b'"\xc3"',  # cut short
        b'"\xc0\x80"',  # overlong
        b'"\xed\xa0\x80"',  # a surrogate
        b'"\xf4\x90\x80\x80"',  # above U+10FFFF
        b'"\xc3\xa9\x01"',  # a control character, which escaping would hide
        b'"\\\xc3\xa9"',  # an escape that JSON does not know, and would know once escaped
        b'"\\\\\\\xc3\xa9"',
        b"[" * 65 + b"]" * 65,
        b'{"a":' * 65 + b"1" + b"}" * 65,
    ],
)
def test_bad_input_is_refused(payload: bytes) -> None:
    with pytest.raises(BadJsonError, match="expected"):
        guard(payload, DEPTH)


def test_a_million_brackets_are_refused() -> None:
    with pytest.raises(BadJsonError, match="expected"):
        guard(b"[" * 1_000_000, DEPTH)


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (rb'"\ud83d"', rb'"\ufffd"'),
        (rb'"\uDE00 x"', rb'"\ufffd x"'),
        (rb'"\ud83d\ude00"', rb'"\ud83d\ude00"'),
        (rb'"\uD83D\ud83d\uDE00\udE00"', rb'"\ufffd\ud83d\uDE00\ufffd"'),
        (rb'"\ud83d\n\ude00"', rb'"\ufffd\n\ufffd"'),
        (rb'"\ud83d\\ude00"', rb'"\ufffd\\ude00"'),
        (rb'"\\ud83d"', rb'"\\ud83d"'),  # an escaped backslash, and then four letters and figures
        (rb'"\\\ud83d"', rb'"\\\ufffd"'),
        (rb'{"\udbff":"\udc00"}', rb'{"\ufffd":"\ufffd"}'),
        ('"\\ud83d😀é"'.encode(), rb'"\ufffd\ud83d\ude00\u00e9"'),
        (rb'"\ud7ff\ue000"', rb'"\ud7ff\ue000"'),
    ],
)
def test_a_lone_surrogate_becomes_the_replacement_character(payload: bytes, expected: bytes) -> None:
    guarded = guard(payload, DEPTH)
    assert guarded == expected
    check_syntax(guarded)


@given(st.text(st.sampled_from('\ud83d\ude00\\u"é😀n'), max_size=12), st.booleans())
def test_texts_with_halves_of_characters_arrive_as_encoders_write_them(text: str, ascii_only: bool) -> None:
    whole = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    escaped = json.dumps(text) if ascii_only else json.dumps(text, ensure_ascii=False)
    payload = escaped.replace("\ud83d", "\\ud83d").replace("\ude00", "\\uDE00").encode()
    assert json.loads(guard(payload, DEPTH)) == whole


def test_replacing_lone_surrogates_changes_no_length() -> None:
    payload = '["é\\ud83d", "\\\\ud83d", "😀"]'.encode()
    assert replace_lone_surrogates(payload) == '["é\\ufffd", "\\\\ud83d", "😀"]'.encode()


def test_an_escaped_backslash_may_stand_before_any_character() -> None:
    assert guard('"\\\\é"'.encode(), DEPTH) == b'"\\\\\\u00e9"'


@pytest.mark.parametrize("payload", [b"[" * 64 + b"]" * 64, b'["[[[[[[["]' * 1, b'{"a":"}{"}'])
def test_what_is_within_the_limit_passes(payload: bytes) -> None:
    assert guard(payload, DEPTH) is payload


@pytest.mark.parametrize(
    ("before", "many", "times", "after"),
    [
        (b'["', b'\\"', 500_000, b'"]' + b"[]" * 100),
        (b'["', b"\\", 1_000_000, b""),
        (b"", b'"', 1_000_000, b""),
        (b'["', "é\\\\".encode(), 250_000, b""),
        (b"", b"[]", 500_000, b""),
        (b'"', b"\\ud83d", 200_000, b""),
        (b'"', b"\\", 1_000_000, b"ud83d"),
    ],
)
def test_hostile_input_costs_no_more_than_its_size(before: bytes, many: bytes, times: int, after: bytes) -> None:
    payload = before + many * times + after
    began = time.process_time()
    try:
        guard(payload, DEPTH)
    except BadJsonError:
        pass
    assert time.process_time() - began < 20  # quadratic work would take hours, not seconds


@pytest.mark.parametrize(
    "payload",
    [b"", b"{", b"[1,]", b"[01]", b"[NaN]", b"[1.]", b'"\\x"', b'"\t"', b'"\\ud800"', b"'a'", b"1 2", b"1e400", b"nul"],
)
def test_syntax_is_strict(payload: bytes) -> None:
    with pytest.raises(BadJsonError, match="expected JSON text"):
        check_syntax(payload)


@pytest.mark.parametrize("payload", [b"1e300", b" [ ] ", b"18446744073709551616", b'"\\ud83d\\ude00"'])
def test_what_is_json_passes(payload: bytes) -> None:
    check_syntax(payload)


@pytest.mark.parametrize(
    "number",
    [b"1e401", b"-1E+309", b"1e00400", b"9" * 400, b"9" * 5000, b"0." + b"1" * 5000, b"9" * 250 + b"e99"],
    ids=lambda each: f"{each[:8].decode()} of {len(each)}",
)
def test_numbers_that_readers_may_refuse_are_refused_by_what_they_are(number: bytes) -> None:
    text = b'{"a":["\\"1e400",%b]}' % number
    with pytest.raises(BadJsonError, match="expected numbers that a double holds, of at most 400 characters, got ") as fault:
        guard(text, 8)
    assert number[:20].decode() in str(fault.value)
    assert str(fault.value).endswith(f"at offset {text.index(number)}")
    assert guard(text, 8, numbers=False) == text


@pytest.mark.parametrize(
    "text",
    [b'["1e400"]', b'["\\\\","1e400"]', b'{"1e400":1e308}', b"[1.5e-999]", b"[0.%b]" % (b"1" * 300), b'["%b"]' % (b"9" * 5000)],
    ids=lambda each: each[:12].decode(),
)
def test_other_numbers_and_texts_pass(text: bytes) -> None:
    assert guard(text, 8) == text


def test_commas_are_counted_outside_of_strings() -> None:
    assert commas(b'{"a,b":[1,2,","],"\\",":","}', 2) == 3
    assert commas(b'["",1]', 8) == 1
