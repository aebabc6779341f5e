"""The channel grammar, and what patterns match, contain and overlap."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.core.channels import (
    InvalidChannelError,
    candidates,
    check_channel,
    check_pattern,
    from_segment,
    is_wildcard,
    lies_within,
    matches,
    overlaps,
    to_segment,
)

_SEGMENT = st.text(st.sampled_from("ab!~()$@+.#=:%-_9Z"), min_size=1, max_size=3)
CHANNELS = st.lists(_SEGMENT, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))
PATTERNS = CHANNELS | st.builds(lambda base, end: base + end, CHANNELS | st.just(""), st.sampled_from(["/*", "/**"]))


@pytest.mark.parametrize("name", ["/a", "/a/b", "/AZaz09-_!~()$@+.#=:%", "/" + "a" * 254, "/a" * 16, "/a%2Fb", "/.", "/..", "/%"])
def test_channel(name: str) -> None:
    assert check_channel(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/",
        "a",
        "a/b",
        "//",
        "/a/",
        "//a",
        "/a//b",
        "/a b",
        "/a\n",
        "/ä",
        "/a*b",
        "/*",
        "/a/*",
        "/a/**",
        "/a/*/b",
        "/a,b",
        "/a;b",
        "/a'b",
        '/a"b',
        "/a{x}",
        "/a\\b",
        "/a?b",
        "/a&b",
        "/a|b",
        "/a\x00",
        "/" + "a" * 255,
        "/a" * 17,
    ],
)
def test_no_channel(name: str) -> None:
    with pytest.raises(InvalidChannelError):
        check_channel(name)


@pytest.mark.parametrize("name", ["/a", "/*", "/**", "/a/*", "/a/b/**", "/a" * 15 + "/*", "/" + "a" * 251 + "/**"])
def test_pattern(name: str) -> None:
    assert check_pattern(name) == name


@pytest.mark.parametrize(
    "name",
    ["", "*", "**", "/***", "/a*", "/a**", "/*/a", "/**/a", "/*/*", "//*", "/a//**", "/a" * 16 + "/*", "/" + "a" * 252 + "/**", "/ä/*"],
)
def test_no_pattern(name: str) -> None:
    with pytest.raises(InvalidChannelError):
        check_pattern(name)


def test_candidates_are_every_pattern_that_matches() -> None:
    assert candidates("/a/b/c") == ("/a/b/c", "/a/b/*", "/a/b/**", "/a/**", "/**")
    assert candidates("/a") == ("/a", "/*", "/**")


@pytest.mark.parametrize(
    ("pattern", "channel", "expected"),
    [
        ("/foo/*", "/foo/bar", True),
        ("/foo/*", "/foo", False),
        ("/foo/*", "/foobar", False),
        ("/foo/*", "/foo/a/b", False),
        ("/foo/**", "/foo/bar", True),
        ("/foo/**", "/foo/a/b", True),
        ("/foo/**", "/foo", False),
        ("/foo/**", "/foobar/x", False),
        ("/*", "/foo", True),
        ("/*", "/foo/bar", False),
        ("/**", "/foo/bar", True),
        ("/foo", "/foo", True),
    ],
)
def test_matches(pattern: str, channel: str, expected: bool) -> None:
    assert matches(pattern, channel) is expected


@pytest.mark.parametrize(
    ("pattern", "grant", "expected"),
    [
        ("/a/b", "/a/**", True),
        ("/a/*", "/a/**", True),
        ("/a/**", "/a/**", True),
        ("/a/b/**", "/a/**", True),
        ("/a/**", "/a/*", False),
        ("/a/b", "/a/*", True),
        ("/a/*", "/a/*", True),
        ("/a/b/*", "/a/*", False),
        ("/**", "/a/**", False),
        ("/a", "/a/**", False),
        ("/ab", "/a/**", False),
        ("/a", "/a", True),
        ("/a/*", "/a", False),
        ("/a/b", "/**", True),
        ("/**", "/**", True),
    ],
)
def test_lies_within(pattern: str, grant: str, expected: bool) -> None:
    assert lies_within(pattern, grant) is expected


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ("/a", "/a", True),
        ("/a", "/b", False),
        ("/a", "/*", True),
        ("/a/b", "/*", False),
        ("/a/*", "/a/**", True),
        ("/a/b/*", "/a/**", True),
        ("/b/*", "/a/**", False),
        ("/a/*", "/a/*", True),
        ("/a/*", "/b/*", False),
        ("/a/**", "/a/b/**", True),
        ("/a/**", "/ab/**", False),
        ("/**", "/a/*", True),
        ("/a/b/**", "/a/*", False),
        ("/*", "/a/**", False),
    ],
)
def test_overlaps(left: str, right: str, expected: bool) -> None:
    assert overlaps(left, right) is expected
    assert overlaps(right, left) is expected


@given(PATTERNS, PATTERNS, CHANNELS)
def test_what_lies_within_matches_no_more(pattern: str, grant: str, channel: str) -> None:
    if lies_within(pattern, grant) and matches(pattern, channel):
        assert matches(grant, channel)


@given(PATTERNS, PATTERNS, CHANNELS)
def test_a_common_channel_is_an_overlap(left: str, right: str, channel: str) -> None:
    if matches(left, channel) and matches(right, channel):
        assert overlaps(left, right)


@given(st.text(min_size=1).filter(lambda text: not any(0xD800 <= ord(character) < 0xE000 for character in text)))
def test_any_id_can_be_a_segment(identifier: str) -> None:
    segment = to_segment(identifier)
    assert from_segment(segment) == identifier
    if len(segment) < 250:
        check_channel(f"/{segment}")


def test_slash_of_an_id_is_encoded() -> None:
    assert to_segment("a/b c*") == "a%2Fb%20c%2A"


def test_wildcard() -> None:
    assert [is_wildcard(name) for name in ("/a", "/a/*", "/**")] == [False, True, True]
