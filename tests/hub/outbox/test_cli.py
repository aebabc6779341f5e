"""``hub endpoint`` on a real database."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from channels.families import FAMILIES
from hub.audit.log import AuditLog
from hub.audit.models import HUB
from hub.core.field_error import FieldError
from hub.outbox import cli, delivery_store, endpoint_store
from hub.outbox.administration import Administration, Change, EndpointTerms
from hub.outbox.delivery_store import Work
from hub.outbox.guard import Guard
from hub.outbox.models import DeliveryState
from hub.outbox.settings import OutboxSettings
from hub.security import cli as security_cli
from hub.security import cli_database
from hub.storage.backends import backend_of
from hub.storage.database import Database
from hub.storage.transactions import Transaction, Transactions
from tests.hub.outbox.support import Recording, endpoint, outcome
from tests.world import ManualClock

Hub = Callable[..., Result]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """Runs a command in a folder of its own, with a tenant."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli_database, "set_up", lambda *_: None)
    runner = CliRunner()

    def run(*arguments: str) -> Any:
        return runner.invoke(commands(), arguments)

    run("tenant", "add", "acme")
    return run


@cache
def commands() -> typer.Typer:
    app = typer.Typer()
    security_cli.register(app)
    cli.register(app)
    return app


def as_json(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def add(hub: Hub, *flags: str) -> Any:
    return as_json(hub("endpoint", "add", "https://crm.example.com/hook", "--json", *flags))


def test_an_endpoint_from_beginning_to_end(hub: Hub) -> None:
    made = add(
        hub,
        "--type",
        "interaction.*",
        "--media",
        "chat",
        "--header",
        "X-Own: a: b",
        "--success",
        "2xx",
        "--concurrency",
        "3",
        "--throttle",
        "order",
    )
    assert made.pop("secret").startswith("whsec_")
    assert (made["types"], made["media"], made["headers"], made["success"]) == (["interaction.*"], ["chat"], {"X-Own": "a: b"}, "2xx")
    assert made["throttle"] == "order"
    assert as_json(hub("endpoint", "list", "--json")) == [made]
    assert as_json(hub("endpoint", "show", made["id"], "--json")) == made
    changed = as_json(hub("endpoint", "change", made["id"], "--url", "https://b.example.com/", "--json"))
    assert changed == {**made, "url": "https://b.example.com/"}
    assert "disabled: by an administrator" in hub("endpoint", "disable", made["id"]).stdout
    assert "disabled" in hub("endpoint", "list").stdout
    assert "enabled" in hub("endpoint", "enable", made["id"]).stdout
    assert as_json(hub("endpoint", "rotate", made["id"], "--json"))["secret"].startswith("whsec_")
    assert hub("endpoint", "remove", made["id"]).exit_code == 0
    assert as_json(hub("endpoint", "list", "--json")) == []


def test_the_secret_is_shown_once(hub: Hub) -> None:
    shown = hub("endpoint", "add", "https://crm.example.com/hook", "--secret", "one of my own")
    assert "secret: one of my own" in shown.stdout
    identifier = as_json(hub("endpoint", "list", "--json"))[0]["id"]
    assert "one of my own" not in hub("endpoint", "show", identifier).stdout + hub("endpoint", "show", identifier, "--json").stdout


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["add", "ftp://x.example/"], "URL: expected a URL that begins with http:// or https://"),
        (
            ["add", "http://10.0.0.1/"],
            'URL: expected a host whose address is public, or within outbox.allowed_networks, got "http://10.0.0.1/"',
        ),
        (["add", "https://x.example/", "--type", "a b"], "--type: expected an event type"),
        (["add", "https://x.example/", "--secret", "short"], "--secret: expected 8 to 1024"),
        (["add", "https://x.example/", "--throttle", "all"], '--throttle: expected order or endpoint, got "all"'),
        (["add", "https://x.example/", "--tenant", "nobody"], "tenant: no tenant 'nobody'; there are: acme"),
        (["list", "--tenant", "nobody"], "tenant: no tenant 'nobody'; there are: acme"),
        (["show", "ep_none"], "endpoint: expected one of tenant acme, got ep_none"),
        (["remove", "ep_none"], "endpoint: expected one of tenant acme, got ep_none"),
    ],
)
def test_refusals_say_why(hub: Hub, arguments: list[str], text: str) -> None:
    refused = hub("endpoint", *arguments)
    assert refused.exit_code == 1
    assert text in refused.output


def test_the_help_says_how_to_ask_for_chat_and_email_alone(hub: Hub) -> None:
    shown = " ".join(hub("endpoint", "add", "--help").output.replace("│", " ").split())
    assert "--media chat --media email" in shown
    made = add(hub, "--type", "interaction.*", "--media", "chat", "--media", "email")
    assert made["media"] == ["chat", "email"]


def test_a_tenant_has_so_many_endpoints_and_no_more(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUB_OUTBOX__MAX_ENDPOINTS", "2")
    first = add(hub)["id"]
    add(hub)
    refused = hub("endpoint", "add", "https://x.example/")
    assert refused.exit_code == 1
    assert " ".join(refused.output.split()) == "endpoints: expected at most 2 of a tenant (outbox.max_endpoints), got 3"
    assert hub("endpoint", "remove", first).exit_code == 0
    add(hub)


async def test_a_tenant_has_200_endpoints_unless_the_settings_say_otherwise(light_transactions: Transactions) -> None:
    desk = Administration(EndpointTerms(Guard(), ManualClock(), OutboxSettings()), AuditLog(b"s" * 32, ManualClock().wall_ms).by(HUB))
    await light_transactions.write(lambda tx: endpoint_store.save(tx, endpoint("ep_owned", owner="messaging")))

    def fill(tx: Transaction) -> None:
        for _ in range(200):
            desk.add(tx, "acme", Change("https://x.example/"), None)

    await light_transactions.write(fill)
    with pytest.raises(FieldError, match=r"^endpoints: expected at most 200 of a tenant"):
        await light_transactions.write(lambda tx: desk.add(tx, "acme", Change("https://x.example/"), None))
    await light_transactions.write(lambda tx: desk.add(tx, "other", Change("https://x.example/"), None))


def test_a_header_without_a_colon_is_wrong_usage(hub: Hub) -> None:
    refused = hub("endpoint", "add", "https://x.example/", "--header", "nothing")
    assert refused.exit_code == 2
    assert "NAME: VALUE" in refused.output


def test_dead_deliveries_are_replayed(hub: Hub, tmp_path: Path) -> None:
    endpoint = add(hub)["id"]

    async def die() -> None:
        recording = Recording(ManualClock())

        def write(tx: Transaction) -> None:
            event = recording.add("k")(tx)
            made = delivery_store.create(tx, event, endpoint, 5_000, "me", 6_000)
            assert made is not None
            work = Work(made.delivery, endpoint, 0, 0, event, 0)
            delivery_store.record(tx, work, outcome(500), owner="me", state=DeliveryState.DEAD, next_ms=0, error="x")

        await in_database(tmp_path, write)

    asyncio.run(die())
    assert "0 deliveries are made" in hub("endpoint", "replay", endpoint, "--since", "2020-01-01").output
    assert "1 delivery is made once more" in hub("endpoint", "replay", endpoint, "--since", "1970-01-01T00:00:05Z").output
    states = asyncio.run(in_database(tmp_path, lambda tx: tx.rows("SELECT state, replayed_after FROM deliveries")))
    assert states == [("pending", 1)]


def test_of_an_endpoint_that_fails_the_last_failure_is_shown(hub: Hub, tmp_path: Path) -> None:
    endpoint = add(hub)["id"]
    assert "last failure" not in hub("endpoint", "show", endpoint).stdout

    async def fail(error: str) -> None:
        recording = Recording(ManualClock())

        def write(tx: Transaction) -> None:
            event = recording.add("k")(tx)
            made = delivery_store.create(tx, event, endpoint, 5_000, "me", 6_000)
            assert made is not None
            work = Work(made.delivery, endpoint, 0, 0, event, 0)
            delivery_store.record(tx, work, outcome(500), owner="me", state=DeliveryState.PENDING, next_ms=0, error=error)
            tx.run("UPDATE endpoints SET failing_since_ms = 1795956000000")
            tx.run("UPDATE attempts SET at_ms = 1795956000000, status = 0, error = ? WHERE delivery = ?", (error, made.delivery))

        await in_database(tmp_path, write)

    asyncio.run(fail("the name crm.example.com is not known"))
    shown = " ".join(hub("endpoint", "show", endpoint).stdout.split())
    assert "last failure 2026-11-29 " in shown
    assert "the name crm.example.com is not known" in shown
    assert as_json(hub("endpoint", "show", endpoint, "--json"))["last_failure"] == {
        "at_ms": 1_795_956_000_000,
        "status": 0,
        "error": "the name crm.example.com is not known",
    }


def test_a_type_that_no_event_has_is_warned_of(hub: Hub) -> None:
    app = typer.Typer()
    cli.register(app, lambda: FAMILIES)
    run = CliRunner().invoke
    url = "https://crm.example.com/hook"
    assert run(app, ["endpoint", "list"]).exit_code == 0  # which makes the tables of all families, and logs that
    warned = run(app, ["endpoint", "add", url, "--type", "interaction.strated", "--type", "file.*", "--json"])
    made = as_json(warned)
    told = " ".join(warned.stderr.split())
    assert "no event of this hub has the type interaction.strated; there are: file.approved" in told
    assert "file.*" not in told
    assert "strated" in run(app, ["endpoint", "show", made["id"]]).stderr
    right = run(app, ["endpoint", "change", made["id"], "--type", "interaction.started"])
    assert (right.exit_code, "no event" in right.stderr) == (0, False)


async def in_database(folder: Path, work: Callable[[Transaction], Any]) -> Any:
    database = Database(f"sqlite:///{folder / 'hub-data' / 'hub.db'}")
    transactions = Transactions(backend_of(database))
    await transactions.start()
    try:
        return await transactions.write(work)
    finally:
        await transactions.stop()
        database.close()


@pytest.mark.parametrize("command", ["add", "change", "enable", "disable", "rotate", "list", "show", "remove", "replay"])
def test_every_command_has_help_with_an_example(hub: Hub, command: str) -> None:
    shown = hub("endpoint", command, "--help").output
    assert "hub endpoint" in shown
    assert "Example" in shown
