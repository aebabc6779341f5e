"""``hub audit`` on a real database."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from channels.families import FAMILIES
from hub.audit import cli as audit_cli
from hub.security import cli, cli_clients, cli_database
from tests.hub.security.test_cli import Hub, as_json
from tests.support.cheap_secrets import LEAST


@cache
def commands() -> typer.Typer:
    app = typer.Typer()
    for each in (cli, cli_clients, audit_cli):
        each.register(app, lambda: FAMILIES)
    return app


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """Runs a command in a folder of its own, on a database with two tenants."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli_database, "set_up", lambda *_: None)

    def run(*arguments: str, input: str | None = None) -> Any:
        return CliRunner().invoke(commands(), arguments, input=input, env=LEAST)

    for tenant in ("acme", "rival"):
        run("tenant", "add", tenant)
    run("user", "add", "ana", "--tenant", "acme", "--role", "admin", "--password-stdin", input="long enough\n")
    run("client", "add", "wall", "--tenant", "rival", "--public", "--redirect-uri", "https://a.example/cb")
    return run


def test_rows_are_listed_the_newest_first(hub: Hub) -> None:
    listed = as_json(hub("audit", "list", "--json"))
    assert [(row["event"], row["target"]) for row in listed if not row["tenant"]] == [
        ("log.begun", "tenant:rival"),
        ("log.begun", "tenant:acme"),
    ]
    rows = [row for row in listed if row["tenant"]]
    assert [(row["tenant"], row["event"]) for row in rows] == [
        ("rival", "client.added"),
        ("acme", "user.added"),
        ("rival", "tenant.added"),
        ("acme", "tenant.added"),
    ]
    assert {row["who"].partition(":")[0] for row in rows} == {"command-line"}
    assert "ana" not in json.dumps(rows)
    assert [row["event"] for row in as_json(hub("audit", "list", "--event", "user.*", "--event", "client.added", "--json"))] == [
        "client.added",
        "user.added",
    ]
    assert [row["event"] for row in as_json(hub("audit", "list", "--person", "ana", "--json"))] == ["user.added"]
    assert len(as_json(hub("audit", "list", "--tenant", "acme", "--limit", "1", "--json"))) == 1
    assert len(as_json(hub("audit", "list", "--since", "1h", "--json"))) == 6
    assert "user.added" in hub("audit", "list").stdout
    assert "no such rows" in hub("audit", "list", "--event", "sign_in").output


def test_an_export_has_every_row_and_can_be_checked_by_whoever_has_it(hub: Hub) -> None:
    found = hub("audit", "export", "--tenant", "acme")
    rows = [json.loads(line) for line in found.stdout.splitlines()]
    assert [row["number"] for row in rows] == [1, 2]
    previous = "0" * 64
    for row in rows:
        values = [row["before"], row["after"]]
        texts = [None if value is None else json.dumps(value, separators=(",", ":"), sort_keys=True) for value in values]
        names = ("tenant", "number", "atMs", "event", "who", "address", "client", "target", "count")
        covered = json.dumps([previous, *(row[name] for name in names), *texts], separators=(",", ":"))
        previous = hashlib.sha256(covered.encode()).hexdigest()
        assert previous == row["hash"]
    assert len(hub("audit", "export").stdout.splitlines()) == 6


def test_a_check_tells_where_the_log_ends_and_what_was_changed(hub: Hub, tmp_path: Path) -> None:
    checked = as_json(hub("audit", "verify", "--json"))
    assert [(each["tenant"], each["rows"], each["problems"]) for each in checked] == [("", 2, []), ("acme", 2, []), ("rival", 2, [])]
    end = f"acme:2:{checked[1]['hash']}"
    assert end in hub("audit", "verify").stdout
    assert hub("audit", "verify", "--expect", end).exit_code == 0
    assert "row 2: expected the hash 000" in hub("audit", "verify", "--expect", f"acme:2:{'0' * 64}").output
    database = sqlite3.connect(tmp_path / "hub-data" / "hub.db")
    database.execute("DROP TRIGGER audit_is_kept")
    database.execute("UPDATE audit SET who = 'nobody' WHERE tenant = 'acme' AND number = 1")
    database.commit()
    database.close()
    found = hub("audit", "verify")
    assert found.exit_code == 1
    assert "acme: row 1: was changed" in found.output
    assert hub("audit", "verify", "--tenant", "rival").exit_code == 0


def test_a_log_that_is_gone_and_a_seal_that_is_not_good_end_a_check_with_1(hub: Hub, tmp_path: Path) -> None:
    assert "each seal is good" in hub("audit", "seal").output
    end = f"rival:2:{as_json(hub('audit', 'verify', '--json'))[2]['hash']}"
    with sqlite3.connect(tmp_path / "hub-data" / "hub.db") as database:
        for trigger in ("audit_loses_none", "audit_chains_go_on", "audit_chains_are_kept"):
            database.execute(f"DROP TRIGGER {trigger}")
        database.execute("UPDATE audit_chains SET seal = 'x' WHERE tenant = 'acme'")
        database.execute("DELETE FROM audit WHERE tenant = 'rival'")
        database.execute("DELETE FROM audit_chains WHERE tenant = 'rival'")
    hub("key", "add", "switch", "--tenant", "acme", "--role", "producer")
    found = hub("audit", "verify", "--expect", end)
    assert found.exit_code == 1
    told = " ".join(found.output.split())
    assert "acme: the log: where the log begins and ends was changed, or was sealed under another HUB_SECRET; hub audit seal" in told
    assert "rival: row 2: expected this row, got no log" in told
    assert hub("audit", "verify").exit_code == 1
    assert "acme: sealed" in hub("audit", "seal", "--tenant", "acme").output
    assert hub("audit", "verify", "--tenant", "acme").exit_code == 0
    assert as_json(hub("audit", "list", "--event", "log.sealed", "--json"))[0]["who"].startswith("command-line:")
    assert hub("audit", "verify").exit_code == 1


def test_a_check_without_a_log_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli_database, "set_up", lambda *_: None)
    assert "there is no database" in CliRunner().invoke(commands(), ["audit", "verify"]).output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["list", "--tenant", "nobody"],
            "--tenant: expected a tenant that has a log, got 'nobody'; there are: '' (the hub itself), acme, rival",
        ),
        (["list", "--since", "soon"], "--since: expected a number and a unit"),
        (["list", "--event", "user.born"], "--event: expected some of sign_in"),
        (["verify", "--expect", "acme"], "--expect: expected TENANT:NUMBER:HASH"),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(hub: Hub, arguments: list[str], said: str) -> None:
    found = hub("audit", *arguments)
    assert (found.exit_code, said in " ".join(found.output.split())) == (1, True), found.output
