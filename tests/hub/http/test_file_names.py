"""Names of uploaded files."""

from __future__ import annotations

import pytest

from hub.http.file_names import clean_name, disposition


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("a.png", "a.png"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\a.png", "a.png"),
        ("..", "file"),
        (".htaccess", "htaccess"),
        ("", "file"),
        (None, "file"),
        ("a\x00b\r\n.png", "a_b_.png"),
        ('a"b.png', "a_b.png"),
        ("photo\u202egnp.exe", "photo_gnp.exe"),
        ("photo\u061cgnp.exe", "photo_gnp.exe"),
        ("a\u2028b\u200bc\ufeffd.txt", "a_b_c_d.txt"),
        ("\u0646\u0627\u0645\u0647\u200c\u0627\u06cc.txt", "\u0646\u0627\u0645\u0647\u200c\u0627\u06cc.txt"),
        ("größe 😀.png", "größe 😀.png"),
        ("x" * 300 + ".png", "x" * 196 + ".png"),
        ("ü" * 150, "ü" * 100),
    ],
)
def test_names_are_made_harmless(given: str | None, expected: str) -> None:
    assert clean_name(given) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.png", "attachment; filename=\"a.png\"; filename*=UTF-8''a.png"),
        ("größe.png", "attachment; filename=\"gr__e.png\"; filename*=UTF-8''gr%C3%B6%C3%9Fe.png"),
        ("a;b.png", "attachment; filename=\"a_b.png\"; filename*=UTF-8''a%3Bb.png"),
    ],
)
def test_how_a_download_is_named(name: str, expected: str) -> None:
    assert disposition(name) == expected


def test_a_name_of_which_nothing_is_left_is_replaced() -> None:
    assert clean_name("..", "media") == "media"


def test_a_file_may_be_shown() -> None:
    assert disposition("a.png", inline=True) == "inline; filename=\"a.png\"; filename*=UTF-8''a.png"
