"""``hub client`` on a real database."""

from __future__ import annotations

from base64 import urlsafe_b64decode
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from channels.families import FAMILIES
from hub.ops.settings import Settings
from hub.security import cli, cli_auth, cli_clients, cli_database
from hub.security.cli_database import Admin, now_ms, recorder_of
from hub.security.secret import signing_secret
from hub.security.signing import SigningKeys
from hub.storage.transactions import Transactions
from tests.hub.security.test_cli import Hub, as_json
from tests.support.cheap_secrets import LEAST


@cache
def commands() -> typer.Typer:
    app = typer.Typer()
    cli.register(app, lambda: FAMILIES)
    cli_clients.register(app, lambda: FAMILIES)
    cli_auth.register(app, lambda: FAMILIES)
    return app


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """Runs a command in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli_database, "set_up", lambda *_: None)
    return lambda *arguments, **options: CliRunner().invoke(commands(), arguments, env=LEAST, **options)


def test_a_public_client_from_beginning_to_end(hub: Hub) -> None:
    hub("tenant", "add", "acme")
    added = as_json(
        hub("client", "add", "wall", "--public", "--redirect-uri", "https://wall.example.com/cb", "--access-for", "1h", "--json")
    )
    assert (added["public"], added["pkce"], added["secrets"], added["access_s"]) == (True, True, 0, 3600)
    assert added["grants"] == ["authorization_code", "refresh_token"]
    assert "secret" not in added
    assert as_json(hub("client", "list", "--json")) == [added]
    assert as_json(hub("client", "show", "wall", "--json")) == added
    assert "wall.example.com" in hub("client", "list").stdout
    assert as_json(hub("client", "remove", "wall", "--json")) == {"removed": "client wall"}
    assert as_json(hub("client", "list", "--json")) == []


def test_a_secret_is_changed_while_the_old_one_is_good(hub: Hub) -> None:
    hub("tenant", "add", "acme")
    added = as_json(hub("client", "add", "night", "--grant", "client_credentials", "--role", "viewer", "--json"))
    assert added["secret"].startswith("hubc_")
    second = as_json(hub("client", "secret", "night", "--json"))
    assert second["secret"] != added["secret"]
    assert second["secrets"] == 2
    assert "drop the old one first" in hub("client", "secret", "night").output
    assert as_json(hub("client", "secret", "night", "--drop-old", "--json"))["secrets"] == 1
    assert "with two secrets" in hub("client", "secret", "night", "--drop-old").output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a b", "--public", "--redirect-uri", "https://a.example/cb"], "client: expected 1-128 letters"),
        (["demo-app", "--public", "--redirect-uri", "https://a.example/cb"], "other than demo-app"),
        (["wall", "--public"], "redirect URI: expected at least one"),
        (["wall", "--redirect-uri", "http://a.example/cb"], "redirect URI: expected https"),
        (
            ["wall", *(text for n in range(33) for text in ("--redirect-uri", f"https://a.example/{n}"))],
            "redirect URI: expected at most 32",
        ),
        (["wall", "--grant", "implicit"], "grants: expected some of authorization_code"),
        (["wall", "--grant", "client_credentials"], "with roles of its own"),
        (["wall", "--grant", "client_credentials", "--role", "nobody"], "role: no role 'nobody'"),
        (["wall", "--redirect-uri", "https://a.example/cb", "--origin", "https://a.example/"], "origin: expected scheme and host"),
        (["wall", "--redirect-uri", "https://a.example/cb", "--access-for", "soon"], "--access-for: expected"),
        (["wall", "--redirect-uri", "https://a.example/cb", "--name", " "], "name: expected"),
    ],
)
def test_a_client_that_makes_no_sense_is_refused_in_words(hub: Hub, arguments: list[str], said: str) -> None:
    hub("tenant", "add", "acme")
    answer: Any = hub("client", "add", *arguments)
    assert (answer.exit_code, said in " ".join(answer.output.split())) == (1, True), answer.output


def test_what_is_not_there_or_there_already_is_named(hub: Hub) -> None:
    hub("tenant", "add", "acme")
    assert "there is none; add one with: hub client add" in hub("client", "show", "wall").output
    hub("client", "add", "wall", "--public", "--redirect-uri", "https://a.example/cb")
    again = hub("client", "add", "wall", "--public", "--redirect-uri", "https://a.example/cb")
    assert "which is there already" in again.output
    assert "there are: wall" in hub("client", "remove", "crm").output
    assert "which is public" in hub("client", "secret", "wall").output


def test_a_client_is_changed_and_what_is_not_given_stays(hub: Hub) -> None:
    hub("tenant", "add", "acme")
    uris = ("--redirect-uri", "https://a.example/cb", "--origin", "https://a.example")
    before = as_json(hub("client", "add", "wall", "--public", *uris, "--json"))
    wanted = ("--redirect-uri", "http://127.0.0.1/cb", "--role", "viewer", "--name", "Wall")
    changed = as_json(hub("client", "change", "wall", *wanted, "--json"))
    assert changed == {**before, "redirect_uris": ["http://127.0.0.1/cb"], "roles": ["viewer"], "name": "Wall"}
    assert as_json(hub("client", "change", "wall", "--origin", "", "--every-role", "--consent", "--json")) == {
        **changed,
        "origins": [],
        "roles": None,
        "consent": True,
    }
    assert "redirect URI: expected at least one" in hub("client", "change", "wall", "--redirect-uri", "").output
    assert "got nothing" in hub("client", "change", "wall").output
    assert "no client 'nobody'" in hub("client", "change", "nobody", "--name", "x").output


def test_a_tenant_tells_and_keeps_its_clients(hub: Hub) -> None:
    hub("tenant", "add", "acme")
    hub("client", "add", "wall", "--public", "--redirect-uri", "https://a.example/cb")
    assert as_json(hub("tenant", "show", "acme", "--json"))["clients"] == 1
    assert "still has 1 client; remove" in hub("tenant", "remove", "acme").output


def test_a_list_fits_a_terminal(hub: Hub) -> None:
    hub("tenant", "add", "acme")
    hub("client", "add", "wall", "--public", "--redirect-uri", "https://wall.example.com/cb", "--origin", "https://wall.example.com")
    assert max(map(len, hub("client", "list").stdout.splitlines())) <= 120


def test_signing_keys_are_rotated(hub: Hub) -> None:
    hub("tenant", "add", "acme")
    made = as_json(hub("auth", "rotate-keys", "--json"))
    assert {key["algorithm"] for key in made} == {"RS256", "ES256"}
    assert "signs from" in hub("auth", "rotate-keys").stdout


def test_signing_keys_are_as_long_as_the_settings_say(hub: Hub) -> None:
    hub("tenant", "add", "acme")
    hub("auth", "rotate-keys")

    async def lengths(transactions: Transactions, settings: Settings) -> set[int]:
        keys = SigningKeys(transactions, signing_secret(settings), now_ms, recorder_of(settings), rsa_bits=4096)
        return {len(urlsafe_b64decode(key["n"] + "==")) * 8 for key in (await keys.key_set())["keys"] if key["kty"] == "RSA"}

    assert Admin(lambda: FAMILIES).on_database(lengths, None, None, None) == {2048}
