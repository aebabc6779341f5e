"""``hub channel`` on a real database."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from channels.messaging import cli
from channels.messaging.family import family
from hub.security import cli as security_cli
from hub.security import cli_database

Hub = Callable[..., Result]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """Runs a command in a folder of its own, with a tenant."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli_database, "set_up", lambda *_: None)
    app = typer.Typer()
    security_cli.register(app, lambda: [family])
    cli.register(app, lambda: [family])
    runner = CliRunner()

    def run(*arguments: str) -> Any:
        return runner.invoke(app, arguments)

    run("tenant", "add", "acme")
    return run


def as_json(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def add(hub: Hub, channel: str = "0123456789", *flags: str) -> Any:
    return as_json(hub("channel", "add", channel, "--type", "sms", "--webhook", "https://sms.example.com/hook", "--json", *flags))


def test_a_channel_from_beginning_to_end(hub: Hub) -> None:
    made = add(hub, "0123456789", "--sender", "Shop", "--sender-name", "The shop", "--throttle", "order")
    assert made["throttle"] == "order"
    assert made.pop("secret").startswith("whsec_")
    assert (made["tenant"], made["type"], made["sender_id"], made["sender_name"], made["enabled"]) == (
        "acme",
        "sms",
        "Shop",
        "The shop",
        True,
    )
    assert as_json(hub("channel", "list", "--json")) == [made]
    assert as_json(hub("channel", "show", "0123456789", "--json")) == made
    changed = as_json(hub("channel", "change", "0123456789", "--webhook", "https://b.example.com/", "--type", "whatsapp", "--json"))
    assert changed == {**made, "webhook": "https://b.example.com/", "type": "whatsapp"}
    assert "not called: by an administrator" in hub("channel", "disable", "0123456789").stdout
    assert "not called" in hub("channel", "list").stdout
    assert "enabled" in hub("channel", "enable", "0123456789").stdout
    assert as_json(hub("channel", "rotate", "0123456789", "--json"))["secret"].startswith("whsec_")
    assert as_json(hub("channel", "change", "0123456789", "--webhook", "", "--json"))["webhook"] is None
    assert hub("channel", "remove", "0123456789").exit_code == 0
    assert as_json(hub("channel", "list", "--json")) == []


def test_the_secret_is_shown_once(hub: Hub) -> None:
    shown = hub("channel", "add", "999", "--type", "sms", "--secret", "one of my own")
    assert "secret: one of my own" in shown.stdout
    assert "one of my own" not in hub("channel", "show", "999").stdout + hub("channel", "show", "999", "--json").stdout


def test_a_tenants_channels_are_limited_by_the_setting(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUB_MESSAGING__MAX_CHANNELS", "1")
    add(hub)
    refused = hub("channel", "add", "999", "--type", "sms")
    assert refused.exit_code != 0
    assert "at most 1 of a tenant" in refused.output
    assert [each["id"] for each in as_json(hub("channel", "list", "--json"))] == ["0123456789"]


def test_without_channels_it_says_how_to_begin(hub: Hub) -> None:
    assert "hub channel add" in hub("channel", "list").output


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["add", "a b", "--type", "sms"], "CHANNEL: expected 1 to 100 of letters"),
        (["add", "999", "--type", "SMS"], "--type: expected a type such as sms, email or whatsapp"),
        (["add", "999", "--type", "sms", "--webhook", "ftp://x.example/"], "--webhook: expected a URL that begins with http"),
        (["add", "999", "--type", "sms", "--webhook", "http://10.0.0.1/"], "--webhook: expected a host whose address is public"),
        (["add", "999", "--type", "sms", "--secret", "short"], "--secret: expected 8 to 1024"),
        (["add", "999", "--type", "sms", "--sender-name", "x"], "--sender: expected one, since there is a name"),
        (["add", "known", "--type", "sms"], "CHANNEL: expected an id that tenant acme has no channel of yet, got known"),
        (["enable", "known"], "enable: expected false, since the channel has no webhook"),
        (["show", "none"], "CHANNEL: expected one of tenant acme, got none"),
        (["change", "none", "--type", "sms"], "CHANNEL: expected one of tenant acme, got none"),
        (["rotate", "none"], "CHANNEL: expected one of tenant acme, got none"),
        (["remove", "../x"], "CHANNEL: expected one of tenant acme, got ../x"),
        (["add", "999", "--type", "sms", "--tenant", "nobody"], "tenant: no tenant 'nobody'; there are: acme"),
        (["list", "--tenant", "nobody"], "tenant: no tenant 'nobody'; there are: acme"),
    ],
)
def test_refusals_say_why(hub: Hub, arguments: list[str], text: str) -> None:
    hub("channel", "add", "known", "--type", "sms")
    refused = hub("channel", *arguments)
    assert refused.exit_code == 1
    assert text in refused.output
