"""The languages of the pages: the catalogues agree, and each browser gets its own."""

from __future__ import annotations

import re
from dataclasses import fields
from string import Formatter

import pytest

from channels.auth.languages import LANGUAGES, Texts, choose
from tests.channels.auth.conftest import Server, ask, submit

NAMES = [field.name for field in fields(Texts) if field.name != "language"]


def placeholders(text: str) -> set[str | None]:
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_every_text_with_the_same_values(language: str) -> None:
    for name in NAMES:
        text = getattr(choose(language, None), name)
        assert text, name
        assert text == text.strip(), name
        assert placeholders(text) == placeholders(getattr(choose("en", None), name)), name


@pytest.mark.parametrize("language", LANGUAGES[1:])
def test_a_catalogue_is_translated(language: str) -> None:
    texts, english = choose(language, None), choose("en", None)
    alike = [name for name in NAMES if getattr(texts, name) == getattr(english, name)]
    # words that the languages share: "Error" is Spanish, "Password" Italian
    assert set(alike) <= {"error", "password"}, alike


@pytest.mark.parametrize(
    ("ui_locales", "accept_language", "chosen"),
    [
        (None, None, "en"),
        ("", "", "en"),
        (None, "de-AT,de;q=0.9,en;q=0.8", "de"),
        (None, "ja,fr;q=0.5,de;q=0.4", "fr"),
        (None, "en;q=0.1, it;q=0.2", "it"),
        (None, "de;q=0, es", "es"),
        (None, "de;q=none, pt-BR", "pt"),
        (None, "de;q=7, pt-BR", "pt"),
        (None, "*", "en"),
        (None, "EN-us", "en"),
        ("fr-CA en", "de", "fr"),
        ("ja ko", "de", "de"),
        ("PT", "de", "pt"),
        ("../../etc/passwd", ";;;,,,=", "en"),
        ("x" * 100_000, "y" * 100_000, "en"),
    ],
)
def test_the_client_decides_then_the_browser(ui_locales: str | None, accept_language: str | None, chosen: str) -> None:
    assert choose(ui_locales, accept_language).language == chosen


@pytest.mark.parametrize("language", LANGUAGES)
async def test_the_form_its_error_and_the_messages_are_in_the_language_of_the_browser(server: Server, language: str) -> None:
    texts = choose(language, None)
    async with server.browser(**{"Accept-Language": f"{language}-XX"}) as browser:
        page = await browser.get("/auth/v3/oauth/authorize", params=ask())
        assert f'<html lang="{language}">' in page.text
        assert page.headers["content-language"] == language
        assert f">{texts.password}</label>" in page.text
        wrong = await submit(browser, page, password="wrong password")
        assert f'<html lang="{language}">' in wrong.text
        title = re.search("<title>(.*?)</title>", wrong.text)
        assert title is not None
        assert title[1].startswith(texts.error.partition("{")[0])
        assert texts.wrong in wrong.text
        broken = await browser.get("/auth/v3/oauth/authorize", params=ask(client_id="nobody"))
        assert texts.bad_link in broken.text
        # what is for developers stays English, and says so to screen readers
        assert ('<p lang="en"' in broken.text) == (language != "en")


async def test_what_a_client_asks_for_is_kept_over_the_form(server: Server) -> None:
    async with server.browser(**{"Accept-Language": "en"}) as browser:
        page = await browser.get("/auth/v3/oauth/authorize", params=ask(ui_locales="fr de"))
        assert '<html lang="fr">' in page.text
        wrong = await submit(browser, page, password="wrong password")
        assert '<html lang="fr">' in wrong.text


async def test_the_hubs_own_form_keeps_its_language_too(server: Server) -> None:
    async with server.browser(**{"Accept-Language": "en"}) as browser:
        page = await browser.get("/auth/v3/sign-in", params={"ui_locales": "it"})
        assert '<html lang="it">' in page.text
        wrong = await submit(browser, page, password="wrong password")
        assert '<html lang="it">' in wrong.text
