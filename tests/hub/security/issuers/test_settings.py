"""The settings of an issuer: what is wrong is named, with what was expected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from channels.auth.family import family
from channels.auth.settings import AuthSettings
from hub.ops.reference import render
from hub.ops.settings import Settings, SettingsError, load
from tests.hub.security.issuers.conftest import settings


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"name": "Corp!"}, "expected 1-32 small letters"),
        ({"issuer": "http://login.example.com"}, "expected a URL that begins with https://"),
        ({"issuer": "login.example.com"}, "expected a URL that begins"),
        ({"jwks_url": "https://user@login.example.com/keys"}, "expected a URL that begins"),
        ({"jwks_url": "file:///etc/keys"}, "expected a URL that begins"),
        ({"audience": []}, "expected at least one"),
        ({"audience": None}, "Field required"),
        ({"algorithms": ["none"]}, "'RS256', 'PS256', 'ES256' or 'EdDSA'"),
        ({"algorithms": ["HS256"]}, "'RS256', 'PS256', 'ES256' or 'EdDSA'"),
        ({"algorithms": []}, "at least 1 item"),
        ({"tenant": None}, "tenant: expected either tenant, or tenant_claim"),
        ({"tenant_claim": "org"}, "tenant: expected either tenant, or tenant_claim"),
        ({"tenant": None, "tenant_claim": "org"}, "tenants: expected the tenant for at least one value"),
        ({"tenant": "a/b"}, "expected the name of a tenant"),
        ({"roles_claim": None}, "roles_claim: expected the claim whose values"),
        ({"roles_claim": None, "roles": None}, "roles: expected roles_claim with roles, or default_roles"),
        ({"leeway_s": 301}, "less than or equal to 300"),
        ({"secret": "x"}, "Extra inputs are not permitted"),
    ],
)
def test_a_bad_issuer_is_told(more: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match="validation error") as error:
        settings(**more)
    assert said in str(error.value)


@pytest.mark.parametrize(("more", "said"), [({"issuer": "https://other.example"}, "another name"), ({"name": "other"}, "another issuer")])
def test_two_issuers_have_two_names(more: dict[str, str], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        AuthSettings(issuers=(settings(), settings(**more)))


def test_http_is_for_those_who_say_so() -> None:
    assert settings(issuer="http://login.internal", http=True).issuer == "http://login.internal"


FILE = """
[[auth.issuers]]
name = "corp"
issuer = "https://login.example.com"
audience = "cx-hub"
tenant = "acme"
default_roles = "viewer"

[[auth.issuers]]
name = "Other"
issuer = "http://login.other.example"
audience = []
tenant = "acme"
default_roles = "viewer"
secrets = 1
"""


def loaded(tmp_path: Path, text: str) -> Settings:
    path = tmp_path / "hub.toml"
    path.write_text(text)
    return load([family], config=path, flags={})


def test_the_hub_says_which_entry_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as error:
        loaded(tmp_path, FILE)
    assert [each.partition(" (from")[0] for each in error.value.problems] == [
        "auth.issuers[1].name: expected 1-32 small letters, digits and hyphens, got 'Other'",
        "auth.issuers[1].issuer: expected a URL that begins with https://, without user and fragment, got 'http://login.other.example'",
        "auth.issuers[1].audience: expected at least one, since a token for any other service would be good here, got []",
        "auth.issuers[1].secrets: expected no setting of this name, got 1",
    ]


def test_what_is_in_force_is_printed_as_it_can_be_read_again(tmp_path: Path) -> None:
    good = loaded(tmp_path, FILE.partition('[[auth.issuers]]\nname = "Other')[0])
    again: Any = loaded(tmp_path, render(good))
    assert again.auth == good.auth  # type: ignore[attr-defined]
    assert again.auth.issuers[0].prefix == "ext:corp:"
