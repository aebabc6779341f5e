"""The languages of the pages that people see: one catalogue of texts for each, in ``texts/``, and the choice between them."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Final

LANGUAGES: Final = ("en", "de", "fr", "es", "it", "pt")
"""The first is that of a browser which asks for none of them."""

_MAX_WISHES: Final = 20
"""Languages of one request that are looked at; browsers send less than ten."""
_MAX_LENGTH: Final = 400
"""Characters of a list of languages that are looked at."""


@dataclass(frozen=True, slots=True)
class Texts:
    """Everything that the pages say, in one language.

    A text that takes values has them in braces, for ``str.format``. All texts are plain: the page escapes them. A new text is a field here
    and a line in each catalogue; a catalogue that lacks one, or has another, does not load.
    """

    language: str
    """The tag of the language, for ``lang`` (RFC 5646)."""

    error: str
    problem: str

    sign_in: str
    sign_in_to: str
    tenant: str
    username: str
    password: str
    remember: str
    wrong: str
    wrong_without_tenant: str

    consent: str
    consent_question: str
    allow: str
    deny: str
    scope_all: str
    scope_openid: str
    scope_profile: str
    scope_email: str

    sign_out: str
    sign_out_question: str
    sign_out_reason: str
    signed_out: str
    signed_out_text: str

    device: str
    device_text: str
    device_code: str
    go_on: str
    device_wrong: str
    device_question: str
    device_wishes: str
    device_allowed: str
    device_allowed_text: str
    device_denied: str
    device_denied_text: str

    bad_link: str
    bad_link_text: str
    bad_request: str
    bad_request_text: str
    too_old: str
    too_old_text: str
    too_many_requests: str
    too_many_requests_text: str
    too_many_tries: str
    too_many_tries_text: str
    unavailable: str
    unavailable_text: str


def _load(language: str) -> Texts:
    """The catalogue of a language.

    Raises:
        TypeError: it lacks a text, or has one that no page knows.
    """
    content = tomllib.loads(files(__package__).joinpath(f"texts/{language}.toml").read_text("utf-8"))
    return Texts(language=language, **content)


_CATALOGUES: Final = {language: _load(language) for language in LANGUAGES}


def choose(ui_locales: str | None, accept_language: str | None) -> Texts:
    """The texts for a browser.

    Args:
        ui_locales: what the client asks for, the best first, with spaces between (OpenID Connect Core section 3.1.2.1).
        accept_language: the header of the browser (RFC 9110 section 12.5.4), which counts where the client asks for none that there is.
    """
    return _choose((ui_locales or "")[:_MAX_LENGTH], (accept_language or "")[:_MAX_LENGTH])


@lru_cache(maxsize=256)
def _choose(ui_locales: str, accept_language: str) -> Texts:
    for tag in (*ui_locales.split()[:_MAX_WISHES], *_accepted(accept_language)):
        # the catalogues are of whole languages, so that a look-up (RFC 4647 section 3.4) ends at the first part of each tag
        found = _CATALOGUES.get(tag.partition("-")[0].lower())
        if found is not None:
            return found
    return _CATALOGUES[LANGUAGES[0]]


def _accepted(header: str) -> Iterator[str]:
    """The tags of ``Accept-Language``, the best first; those of weight 0 are not wanted."""
    weighted = []
    for each in header.split(",")[:_MAX_WISHES]:
        tag, _, parameter = each.partition(";")
        weighted.append((_weight(parameter), tag.strip()))
    weighted.sort(key=lambda item: -item[0])  # stable: of equal weight the first counts
    return (tag for weight, tag in weighted if weight > 0)


def _weight(parameter: str) -> float:
    """The weight of ``;q=0.8``; 1 without one, 0 for one that is none (RFC 9110 section 12.4.2)."""
    name, _, value = parameter.strip().partition("=")
    if not name:
        return 1.0
    try:
        weight = float(value)
    except ValueError:
        return 0.0
    return weight if name.strip().lower() == "q" and 0 <= weight <= 1 else 0.0
