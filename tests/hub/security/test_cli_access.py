"""``hub access``: who may do what, and why, on a real database."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from channels.families import FAMILIES
from hub.security import cli, cli_access, cli_clients, cli_database
from tests.hub.security.test_cli import Hub, as_json
from tests.support.cheap_secrets import LEAST


@cache
def commands() -> typer.Typer:
    app = typer.Typer()
    for each in (cli, cli_clients, cli_access):
        each.register(app, lambda: FAMILIES)
    return app


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """Runs a command on a database where acme has somebody of each kind."""
    folder = str(tmp_path_factory.mktemp("access"))

    def run(*arguments: str) -> Any:
        return CliRunner().invoke(commands(), [*arguments, "--data-dir", folder], env=LEAST)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(cli_database, "set_up", lambda *_: None)
        patched.chdir(folder)
        desk = ("--subscribe", "/desk/{subject}/**", "--publish", "/desk/{subject}/state", "--deny", "/desk/{subject}/sealed")
        for made in (
            ("tenant", "add", "acme"),
            ("role", "add", "desk", *desk),
            ("user", "add", "ana", "--role", "agent", "--password", "long enough"),
            ("user", "add", "bea", "--role", "agent", "--password", "long enough"),
            ("user", "add", "cleo", "--role", "agent", "--password", "long enough"),
            ("key", "add", "switch", "--role", "producer"),
            ("token", "add", "a/b", "--role", "desk"),
            ("token", "add", "bea", "--role", "admin"),
            ("client", "add", "night", "--grant", "client_credentials", "--role", "viewer"),
        ):
            assert run(*made).exit_code == 0
        yield run


def answers(hub: Hub, *arguments: str) -> list[tuple[str, bool, list[str]]]:
    (found,) = as_json(hub("access", "explain", *arguments, "--json"))
    return [(each["action"], each["allowed"], each["reasons"]) for each in found["answers"]]


@pytest.mark.parametrize(
    ("arguments", "allowed", "reasons"),
    [
        (["ana", "subscribe", "/agents/ana/x"], True, ["role agent allows /agents/{subject}/**"]),
        (["user:ana", "subscribe", "/agents/{subject}/**"], True, ["role agent allows /agents/{subject}/**"]),
        (["ana", "subscribe", "/agents/bob/x"], False, ["role agent has an exception: /agents/**"]),
        (["ana", "subscribe", "/agents/**"], False, ["role agent has an exception: /agents/**"]),
        (["ana", "subscribe", "/**"], False, ["role agent allows a part of it only, within /**"]),
        (["ana", "publish", "/free"], False, ["no role of this credential allows it"]),
        (["key:switch", "publish", "/free"], True, ["role producer allows /**"]),
        (["switch", "publish", "/hub/x"], False, ["only the server publishes there: /hub/**"]),
        (["switch", "call /statistics/read"], False, ["no role of this credential allows it"]),
        (["ana", "call", "/statistics/read"], True, ["role agent allows /statistics/read"]),
        (["ana", "call", "/statistics/raed"], False, ["there is no such operation; did you mean /statistics/read?"]),
        (["ana", "call", "/burn"], False, ["there is no such operation"]),
        (["token:a/b", "subscribe", "/desk/a%2Fb/x"], True, ["role desk allows /desk/{subject}/**"]),
        (["a/b", "subscribe", "/desk/{subject}/x"], True, ["role desk allows /desk/{subject}/**"]),
        (["a/b", "subscribe", "/desk/{subject}/sealed"], False, ["role desk denies /desk/{subject}/sealed, whatever else allows it"]),
        (["client:night", "call", "/statistics/read"], True, ["role viewer allows /statistics/read"]),
        (["role:agent", "--subject", "bob", "subscribe", "/agents/bob"], True, ["role agent allows /agents/{subject}"]),
        (["role:agent", "subscribe", "/agents/{subject}"], True, ["role agent allows /agents/{subject}"]),
        (["role:desk", "subscribe", "/agents/{subject}"], False, ["no role of this credential allows it"]),
        (
            ["role:agent", "subscribe", "/statistics/v3/updates"],
            True,
            ["role agent allows /**", "/statistics/v3/updates needs /statistics/read: role agent allows /statistics/read"],
        ),
        (
            ["ana", "subscribe", "/nexus/v3/channels/7/messages"],
            False,
            ["role agent allows /**", "but /nexus/v3/channels/** needs /messaging/read: no role of this credential allows it"],
        ),
        (
            ["ana", "subscribe", "/nexus/v3/channels/**"],
            True,
            ["role agent allows /**", "without /nexus/v3/channels/**, which needs /messaging/read: no role of this credential allows it"],
        ),
    ],
)
def test_who_may_what_and_why(hub: Hub, arguments: list[str], allowed: bool, reasons: list[str]) -> None:
    assert answers(hub, *arguments) == [(arguments[-2] if len(arguments) > 2 else "call", allowed, reasons)]


def test_without_an_action_all_three_are_explained_in_lines(hub: Hub) -> None:
    said = hub("access", "explain", "ana", "/agents/ana/x")
    assert said.exit_code == 0
    assert said.stdout == (
        "user ana of acme: roles agent\n"
        "  subscribe /agents/ana/x: allowed\n"
        "    role agent allows /agents/{subject}/**\n"
        "  publish /agents/ana/x: denied\n"
        "    no role of this credential allows it\n"
        "  call /agents/ana/x: denied\n"
        "    there is no such operation\n"
    )


def test_everybody_of_a_name_is_explained(hub: Hub) -> None:
    found = as_json(hub("access", "explain", "bea", "call", "/admin/write", "--json"))
    assert [(each["kind"], each["subject"], each["answers"][0]["allowed"]) for each in found] == [
        ("user", "bea", False),
        ("token", "bea", True),
    ]
    assert [each["kind"] for each in as_json(hub("access", "explain", "token:bea", "call", "/admin/write", "--json"))] == ["token"]


def test_a_token_of_a_user_has_the_roles_of_the_user(hub: Hub) -> None:
    added = as_json(hub("token", "add", "cleo", "--json"))
    (found,) = as_json(hub("access", "explain", f"token:{added['id']}", "/agents/{subject}/x", "--json"))
    assert (found["roles"], found["subject"], found["scopes"]) == (["agent"], "cleo", None)
    assert found["answers"][0]["resource"] == "/agents/cleo/x"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nobody", "/x"], "WHO: expected a user, a key, the subject or id of a token, a client, or a role of acme, got 'nobody'"),
        (["user:switch", "/x"], "got 'user:switch'"),
        (["role:nothing", "/x"], "got 'role:nothing'"),
        (["ana", "hear", "/x"], "WHAT: expected subscribe, publish, call, or none of them, and one channel"),
        (["ana", "subscribe", "/x", "/y"], "got subscribe /x /y"),
        (["ana", " "], "got nothing"),
        (["ana", "subscribe", "x"], "WHAT: a channel is /segment/segment"),
        (["ana", "publish", "/x/*"], "WHAT: a channel is /segment/segment"),
        (["ana", "subscribe", "/x/{tenant}"], "WHAT: a channel is /segment/segment"),
        (["ana", "/x", "--subject", "bob"], "--subject: expected it with role:NAME alone, got ana"),
        (["ana", "/x", "--scope", "much"], "--scope: expected one of *, openid, profile, email, mediastorageapi.exports, "),
        (["ana", "/x", "--tenant", "rival"], "tenant: no tenant 'rival'"),
    ],
)
def test_what_cannot_be_explained_is_refused_in_words(hub: Hub, arguments: list[str], said: str) -> None:
    answer = hub("access", "explain", *arguments)
    assert answer.exit_code == 1
    assert said in answer.output


def test_what_somebody_may_is_listed(hub: Hub) -> None:
    said = hub("access", "list", "a/b").stdout.splitlines()
    assert said[0].endswith(" of acme, subject a/b: roles desk")
    assert said[1:] == [
        "  role desk",
        "    deny subscribe /desk/a%2Fb/sealed",
        "    deny publish /desk/a%2Fb/sealed",
        "    deny call /desk/a%2Fb/sealed",
        "    subscribe /desk/a%2Fb/**",
        "    publish /desk/a%2Fb/state",
        "  may call nothing",
    ]
    (role,) = as_json(hub("access", "list", "role:agent", "--json"))
    assert role["operations"] == ["/statistics/read", "/interactions/events", "/files/participants", "/tickets/write"]
    assert {"action": "subscribe", "within": ["/agents/{subject}", "/agents/{subject}/**"], "without": []} in role["rules"]["agent"]


@pytest.mark.parametrize(
    ("scopes", "limited_to", "reason"),
    [
        (("*",), None, "role agent allows /statistics/read"),
        (("openid", "*"), None, "role agent allows /statistics/read"),
        (("openid", "email"), [], "the scopes of this token do not cover it"),
    ],
)
def test_the_scopes_of_discovery_are_taken(hub: Hub, scopes: tuple[str, ...], limited_to: list[str] | None, reason: str) -> None:
    options = [word for scope in scopes for word in ("--scope", scope)]
    (found,) = as_json(hub("access", "explain", "ana", "call", "/statistics/read", *options, "--json"))
    assert (found["scopes"], found["answers"][0]["reasons"]) == (limited_to, [reason])


def test_the_help_has_examples(hub: Hub) -> None:
    assert "hub access explain ana subscribe" in hub("access", "explain", "--help").output
    assert "hub access list role:agent" in hub("access", "list", "--help").output
