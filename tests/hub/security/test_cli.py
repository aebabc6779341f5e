"""``hub tenant|role|user|key|token`` on a real database."""

import json
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from channels.families import FAMILIES
from hub.objects.instances import instance_id
from hub.security import cli, cli_database
from hub.security.models import AdminError
from tests.support.cheap_secrets import LEAST

Hub = Callable[..., Result]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """Runs a command in a folder of its own, without any HUB_ variables but those that make hashes of passwords cheap."""
    monkeypatch.chdir(tmp_path)
    for name, value in LEAST.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(cli_database, "set_up", lambda *_: None)  # logs are the process's: a test must not redirect those of pytest
    runner = CliRunner()

    def run(*arguments: str, input: str | None = None) -> Any:
        return runner.invoke(commands(), arguments, input=input)

    return run


@pytest.fixture(scope="module")
def two_tenants(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a hub with the tenants acme and rival, which has a key: for commands that are refused, and change nothing."""
    folder = tmp_path_factory.mktemp("tenants")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(cli_database, "set_up", lambda *_: None)
        patched.chdir(folder)
        for made in (("tenant", "add", "acme"), ("tenant", "add", "rival"), ("key", "add", "switch", "-t", "rival", "-r", "producer")):
            assert CliRunner().invoke(commands(), made).exit_code == 0
    return folder


@pytest.fixture
def refusing(hub: Hub, two_tenants: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """Runs a command in that folder."""
    monkeypatch.chdir(two_tenants)
    return hub


@cache
def commands() -> typer.Typer:
    app = typer.Typer()
    cli.register(app, lambda: FAMILIES)
    return app


def as_json(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_tenant_from_beginning_to_end(hub: Hub) -> None:
    assert as_json(hub("tenant", "add", "acme", "--json"))["name"] == "acme"
    assert [tenant["name"] for tenant in as_json(hub("tenant", "list", "--json"))] == ["acme"]
    shown = as_json(hub("tenant", "show", "acme", "--json"))
    assert (shown["tokens"], shown["id"]) == (0, instance_id("acme"))
    assert as_json(hub("tenant", "remove", "acme", "--json")) == {"removed": "tenant acme"}
    assert as_json(hub("tenant", "list", "--json")) == []


def test_a_user_from_beginning_to_end(hub: Hub) -> None:
    hub("tenant", "add", "acme")
    added = hub("user", "add", "ana", "--role", "admin", "--password-stdin", "--json", input="long enough\n")
    assert as_json(added)["roles"] == ["admin"]
    assert as_json(hub("user", "change", "ana", "-r", "dashboard", "--password", "another one", "--json"))["roles"] == ["dashboard"]
    assert [user["name"] for user in as_json(hub("user", "list", "--tenant", "acme", "--json"))] == ["ana"]
    assert as_json(hub("user", "show", "ana", "--json"))["tenant"] == "acme"
    assert as_json(hub("user", "remove", "ana", "--json")) == {"removed": "user ana"}


def test_a_password_is_hashed_at_the_cost_of_the_settings(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stored() -> str:
        with closing(sqlite3.connect(tmp_path / "hub-data" / "hub.db")) as database:
            return str(database.execute("SELECT password_hash FROM users").fetchone()[0])

    hub("tenant", "add", "acme")
    assert hub("user", "add", "ana", "-r", "admin", "--password", "long enough").exit_code == 0
    assert stored().startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    monkeypatch.setenv("HUB_PASSWORD_HASHES__ROUNDS", "3")
    assert hub("user", "change", "ana", "--password", "another one").exit_code == 0
    assert stored().startswith("$argon2id$v=19$m=19456,t=3,p=1$")
    monkeypatch.setenv("HUB_PASSWORD_HASHES__ROUNDS", "1")
    refused = hub("user", "change", "ana", "--password", "a third one")
    assert refused.exit_code == 2
    assert "password_hashes.rounds: expected greater than or equal to 2, got '1'" in " ".join(refused.output.split())


def test_a_key_from_beginning_to_end(hub: Hub) -> None:
    hub("tenant", "add", "acme")
    assert as_json(hub("key", "add", "switch", "-t", "acme", "-r", "producer", "--json"))["key"].startswith("hubk_")
    shown = as_json(hub("key", "show", "switch", "--json"))
    assert shown == as_json(hub("key", "list", "--json"))[0]
    assert shown.keys() == {"id", "tenant", "name", "roles", "created_ms"}
    assert as_json(hub("key", "remove", "switch", "--json")) == {"removed": "key switch"}


def test_an_access_key_from_beginning_to_end(hub: Hub) -> None:
    hub("tenant", "add", "acme")
    added = as_json(hub("key", "add", "crm", "--aws", "-r", "admin", "--json"))
    assert added["access_key_id"] == added["id"]
    assert (len(added["access_key_id"]), len(added["secret_access_key"]), added["generation"]) == (20, 40, 1)
    shown = as_json(hub("key", "show", "crm", "--json"))
    assert as_json(hub("key", "list", "--json")) == [shown]
    assert shown.keys() == {"id", "tenant", "name", "roles", "created_ms", "generation", "rotated_ms"}
    rotated = as_json(hub("key", "rotate", "crm", "--json"))
    assert (rotated["id"], rotated["generation"]) == (added["id"], 2)
    assert rotated["secret_access_key"] != added["secret_access_key"]
    assert as_json(hub("key", "remove", "crm", "--json")) == {"removed": "key crm"}


def test_an_access_key_is_printed_as_tools_of_amazon_want_it(hub: Hub) -> None:
    hub("tenant", "add", "acme")
    printed = hub("key", "add", "crm", "--aws", "-r", "admin")
    assert re.search(r"^aws_access_key_id = AKIAHUB[A-Z2-7]{13}\naws_secret_access_key = [A-Za-z0-9+/]{40}$", printed.stdout, re.MULTILINE)
    hub("key", "add", "switch", "-r", "producer")
    listed = hub("key", "list")
    assert ("AKIAHUB" in listed.stdout, "crm" in listed.stdout, "switch" in listed.stdout) == (True, True, True)
    assert "aws_secret_access_key" in hub("key", "rotate", "crm").stdout
    refused = hub("key", "rotate", "switch")
    assert (refused.exit_code, "expected an access key" in refused.output) == (1, True)


def test_a_token_from_beginning_to_end(hub: Hub) -> None:
    hub("tenant", "add", "acme")
    made = as_json(hub("token", "add", "wall", "-r", "dashboard", "--expires-in", "30d", "--json"))
    assert made["token"].startswith("hubt_")
    assert made["expires_ms"] - made["created_ms"] in range(30 * 86_400_000 - 5000, 30 * 86_400_000 + 5000)
    shown = as_json(hub("token", "show", made["id"], "--json"))
    assert shown == as_json(hub("token", "list", "--json"))[0]
    assert "token" not in shown
    assert as_json(hub("token", "remove", "wall", "--json")) == {"removed": f"token {made['id']} of wall"}


def test_a_role_from_beginning_to_end(hub: Hub) -> None:
    hub("tenant", "add", "acme")
    added = hub("role", "add", "wall", "--subscribe", "/a/**", "--except", "/a/b", "--call", "/statistics/read", "--json")
    assert as_json(added)["grants"] == [
        {"action": "subscribe", "within": ["/a/**"], "without": ["/a/b"]},
        {"action": "call", "within": ["/statistics/read"], "without": []},
    ]
    assert {"admin", "wall"} <= {role["name"] for role in as_json(hub("role", "list", "--json"))}
    assert as_json(hub("role", "show", "wall", "--json"))["tenant"] == "acme"
    assert as_json(hub("role", "show", "admin", "--json"))["name"] == "admin"
    assert as_json(hub("role", "remove", "wall", "--json")) == {"removed": "role wall"}


def test_a_role_that_would_allow_nothing_is_refused(hub: Hub) -> None:
    hub("tenant", "add", "acme")
    for arguments, why in (
        (
            ("--call", "/statistic/read"),
            "--call: expected an operation, or a pattern that matches one, got /statistic/read; did you mean /statistics/read?",
        ),
        (("--call", "/wholly/else"), "got /wholly/else; there are /statistics/read, "),
        (("--subscribe", "north"), "; got north"),
    ):
        refused = hub("role", "add", "wall", *arguments)
        assert refused.exit_code == 1
        assert why in refused.stderr
        assert refused.stderr.startswith(arguments[0])
    assert hub("role", "add", "wall", "--call", "/messaging/**", "--call", "/presence/*").exit_code == 0


@pytest.mark.parametrize(
    ("denied", "why"),
    [
        ("/statistics/raed", "got /statistics/raed; did you mean /statistics/read?"),
        ("/messging/read", "got /messging/read; did you mean /messaging/read?"),
        ("/statistic/read", "got /statistic/read; did you mean /statistics/read?"),
        ("/tickets/x", "got /tickets/x; "),
        ("statistics/read", "; got statistics/read"),
        ("/a/**/b", "; got /a/**/b"),
    ],
)
def test_a_denial_that_would_deny_nothing_is_refused(hub: Hub, denied: str, why: str) -> None:
    hub("tenant", "add", "acme")
    refused = hub("role", "add", "wall", "--subscribe", "/my/**", "--deny", denied)
    assert refused.exit_code == 1
    assert refused.stderr.startswith("--deny: ")
    assert why in refused.stderr
    assert "wall" not in {role["name"] for role in as_json(hub("role", "list", "--json"))}


@pytest.mark.parametrize(
    "denied",
    ["/statistics/read", "/messaging/**", "/statistics/v3/updates", "/my/secret", "/message/read", "/orders", "/**", "/hub/presence"],
)
def test_what_may_be_denied(hub: Hub, denied: str) -> None:
    hub("tenant", "add", "acme")
    assert hub("role", "add", "wall", "--subscribe", "/**", "--deny", denied).exit_code == 0


def test_people_get_tables_and_the_secret_once(hub: Hub) -> None:
    hub("tenant", "add", "gone")
    hub("tenant", "remove", "gone")
    assert "there is none" in hub("token", "add", "wall", "-r", "dashboard").stderr
    assert "no tenants yet" in hub("tenant", "list").stderr
    assert "added tenant acme" in hub("tenant", "add", "acme").stderr
    added = hub("token", "add", "wall", "-r", "dashboard")
    assert re.search(r"^token: hubt_\S{43}$", added.stdout, re.MULTILINE)
    assert "Keep it now" in added.stderr
    listed = hub("token", "list")
    assert "wall" in listed.stdout
    assert "hubt_" not in listed.output
    shown = hub("role", "list").stdout
    assert "subscribe /** except /hub" in shown
    assert "1970" not in shown
    assert "running nodes follow within 2 s" in hub("token", "remove", "wall").stderr
    hub("user", "add", "ana", "-r", "admin", "--password", "long enough")
    assert "as its user" in hub("token", "add", "ana").stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("tenant", "add", "a b"), "tenant: expected"),
        (("tenant", "add", "acme"), "'acme', which is there already"),
        (("tenant", "show", "nope"), "no tenant 'nope'; there are: acme, rival"),
        (("tenant", "remove", "rival"), "rival still has 1 key; remove them first, or with --force all at once"),
        (("token", "add", "x", "-r", "admin"), "--tenant: expected one, got none; there are: acme, rival"),
        (("token", "add", "x", "-t", "nope", "-r", "admin"), "no tenant 'nope'; there are: acme, rival"),
        (
            ("token", "add", "x", "-t", "acme"),
            "roles: expected at least one (--role), since x is no user of tenant acme, got none; there are: admin, supervisor",
        ),
        (("token", "add", "x", "-t", "acme", "-r", "boss"), "no role 'boss'; there are: admin"),
        (("token", "add", "x", "-t", "acme", "-r", "admin", "--expires-in", "soon"), "--expires-in: expected a number and a unit"),
        (("token", "remove", "nope"), "no token 'nope'"),
        (("key", "add", "x", "-t", "acme"), "roles: expected at least one"),
        (("user", "add", "x", "-t", "acme", "-r", "admin", "--password", "short"), "password: expected 8-1024 characters"),
        (("user", "add", "x", "-t", "acme", "-r", "admin"), "password: expected --password-stdin"),
        (("user", "change", "x", "-t", "acme"), "expected something to change, got nothing"),
        (("role", "add", "x", "-t", "acme"), "grants: expected at least one"),
        (("role", "add", "x", "-t", "acme", "--subscribe", "nonsense"), "--subscribe: a channel is"),
        (
            ("role", "add", "x", "-t", "acme", "--publish", "/a/{tenant}"),
            "--publish: expected the variable {subject} as a whole segment of /a/{tenant}, got {tenant}\n",
        ),
        (("role", "add", "x", "-t", "acme", "--deny", "/{subject}/**"), "--deny: expected a first segment without a variable"),
        (("role", "show", "x", "-t", "acme"), "no role 'x'; there are: admin"),
    ],
)
def test_what_is_refused_says_why_and_ends_with_1(refusing: Hub, arguments: tuple[str, ...], message: str) -> None:
    result = refusing(*arguments)
    assert message in result.stderr
    assert (result.exit_code, result.stdout) == (1, "")


def test_wrong_usage_ends_with_2(hub: Hub) -> None:
    assert hub("token", "add").exit_code == 2
    assert hub("tenant", "list", "--config", "nowhere.toml").exit_code == 2


def test_a_database_that_does_not_answer_ends_with_1_and_hides_its_password(hub: Hub) -> None:
    result = hub("tenant", "list", "--database-url", "postgresql://ana:geheim@127.0.0.1:1/hub")
    assert "database: PostgreSQL at postgresql://[hidden]@127.0.0.1:1/hub cannot be used" in result.stderr.replace("\n", "")
    assert "geheim" not in result.output
    assert result.exit_code == 1


def test_a_file_that_is_no_database_ends_with_1(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "other.db").write_text("this is no database, and far longer than a header of one" * 50)
    result = hub("tenant", "list", "--database-url", "sqlite:///other.db")
    assert "file is not a database" in result.stderr
    assert result.exit_code == 1


def test_the_folder_may_come_from_flag_environment_and_file(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub("tenant", "add", "of-flag", "--data-dir", "one")
    monkeypatch.setenv("HUB_DATA_DIR", "two")
    hub("tenant", "add", "of-environment")
    monkeypatch.delenv("HUB_DATA_DIR")
    (tmp_path / "three.toml").write_text('data_dir = "three"')
    hub("tenant", "add", "of-file", "--config", "three.toml")
    for folder, name in (("one", "of-flag"), ("two", "of-environment"), ("three", "of-file")):
        assert [tenant["name"] for tenant in as_json(hub("tenant", "list", "--data-dir", folder, "--json"))] == [name]


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("15m", 900), ("8h", 28_800), ("30d", 2_592_000), ("2w", 1_209_600)])
def test_a_life_time_has_a_unit(text: str, seconds: int) -> None:
    assert cli.lifetime_s(text) == seconds


@pytest.mark.parametrize("text", ["", "8", "h", "-1h", "1.5h", "8 h", "8y", "8h\n", "٣h"])
def test_a_life_time_without_one_is_refused(text: str) -> None:
    with pytest.raises(AdminError, match="--expires-in: expected a number and a unit such as 90s"):
        cli.lifetime_s(text)


@pytest.mark.parametrize("text", ["0s", "00h"])
def test_a_life_time_of_nothing_is_refused(text: str) -> None:
    with pytest.raises(AdminError, match=f"--expires-in: expected more than 0, got '{text}'"):
        cli.lifetime_s(text)


@pytest.mark.parametrize("command", ["tenant", "role", "user", "key", "token"])
@pytest.mark.parametrize("action", ["add", "list", "show", "remove"])
def test_every_command_has_help_with_an_example(hub: Hub, command: str, action: str) -> None:
    result = hub(command, action, "--help")
    assert result.exit_code == 0
    assert f"hub {command} {action}" in result.stdout


def test_a_user_gets_a_name_and_is_disabled(hub: Hub) -> None:
    hub("tenant", "add", "acme")
    hub("user", "add", "ana", "--role", "admin", "--password", "long enough", "--given-name", "Ana", "--email", "ana@example.com")
    shown = as_json(hub("user", "change", "ana", "--family-name", "Ruiz", "--email", "", "--disable", "--json"))
    assert (shown["given_name"], shown["family_name"], shown["email"], shown["disabled"]) == ("Ana", "Ruiz", None, True)
    assert as_json(hub("user", "change", "ana", "--enable", "--json"))["disabled"] is False
    assert "e-mail: expected an address" in hub("user", "change", "ana", "--email", "nobody").output
    assert "got nothing" in hub("user", "change", "ana").output


_ISSUER = """
[[auth.issuers]]
name = "corp"
issuer = "https://login.corp.example"
audience = "hub"
tenant = "acme"
default_roles = ["agent"]
"""


def test_a_block_that_hits_nothing_says_so(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "hub.toml").write_text(_ISSUER)
    hub("tenant", "add", "acme")
    wrong = hub("token", "block", "ext:corpp:ana", "--config", "hub.toml")
    assert "got 'ext:corpp:ana'; there are: ext:corp:NAME" in wrong.stderr
    assert wrong.exit_code == 1
    unknown = hub("token", "block", "ana", "--config", "hub.toml")
    assert "no live token has this jti or subject: check the spelling" in unknown.stderr
    assert unknown.exit_code == 0  # a token that never came here is blocked too
    as_script = hub("token", "block", "ext:corp:ana", "--config", "hub.toml", "--json")
    assert as_json(as_script) == {"blocked": "ext:corp:ana", "ended": 0}
    assert "check the spelling" in as_script.stderr


def test_without_issuers_no_external_subject_is_blocked(hub: Hub) -> None:
    hub("tenant", "add", "acme")
    refused = hub("token", "block", "ext:corp:ana")
    assert "got 'ext:corp:ana'; there is none" in refused.stderr
    assert refused.exit_code == 1


def test_a_role_that_somebody_has_is_changed(hub: Hub) -> None:
    hub("tenant", "add", "acme")
    hub("role", "add", "desk", "--subscribe", "/desk/**")
    hub("key", "add", "screen", "--role", "desk")
    for refused in (hub("role", "remove", "desk"), hub("role", "add", "desk", "--subscribe", "/x")):
        assert "hub role change desk" in refused.stderr
        assert refused.exit_code == 1
    changed = as_json(hub("role", "change", "desk", "--subscribe", "/desk/**", "--publish", "/desk/state", "--json"))
    assert [(grant["action"], grant["within"]) for grant in changed["grants"]] == [
        ("subscribe", ["/desk/**"]),
        ("publish", ["/desk/state"]),
    ]
    assert as_json(hub("role", "show", "desk", "--json"))["grants"] == changed["grants"]
    assert "there are: desk" in hub("role", "change", "desc", "--subscribe", "/x").stderr


@pytest.mark.parametrize("pattern", ["/statistics/**", "/nexus", "/hub/{subject}"])
def test_a_role_that_publishes_where_only_the_server_does_is_refused(hub: Hub, pattern: str) -> None:
    hub("tenant", "add", "acme")
    refused = hub("role", "add", "n3", "--publish", pattern)
    assert f"--publish: expected a channel where others than the server may publish, got {pattern}" in refused.stderr
    assert refused.exit_code == 1
    assert hub("role", "add", "n3", "--publish", "/**").exit_code == 0  # free channels are among these
