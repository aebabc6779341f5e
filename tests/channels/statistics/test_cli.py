"""``hub explain``."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import ClassVar

import orjson
import pytest
import typer
from typer.testing import CliRunner

from channels.statistics.cli import register
from channels.statistics.engine.library import names

app = typer.Typer()
register(app)
app.command("other")(lambda: None)  # with one command alone typer leaves its name out
runner = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1"})


def test_a_known_name() -> None:
    result = runner.invoke(app, ["explain", "AverageHandlingTime"])
    assert result.exit_code == 0
    expected = ("AverageHandlingTime", "AverageTime", "DNAction", "Agent, GroupAgents", "CustomerCallWrapped", "Rel mask", "Periodical")
    for part in (*expected, "/ 2 = 75."):
        assert part in result.stdout


def test_a_statistic_with_a_time_range() -> None:
    result = runner.invoke(app, ["explain", "ServiceLevel"])
    assert "0-20" in result.stdout


def test_every_name_can_be_explained() -> None:
    for entry in names():
        result = runner.invoke(app, ["explain", entry.name])
        assert result.exit_code == 0
        assert entry.category in result.stdout


def test_an_unknown_name_shows_the_nearest() -> None:
    result = runner.invoke(app, ["explain", "averagehandlingtimes"])
    assert result.exit_code == 2
    assert "There is no predefined statistic 'averagehandlingtimes'." in result.stderr
    assert "Nearest: AverageHandlingTime" in result.stderr


def test_a_name_that_is_near_to_nothing() -> None:
    result = runner.invoke(app, ["explain", "zzzzzz"])
    assert result.exit_code == 2
    assert "hub explain" in result.stderr


def test_without_a_name_all_are_listed() -> None:
    result = runner.invoke(app, ["explain"])
    assert result.exit_code == 0
    assert all(entry.name in result.stdout for entry in names())


class Hub(BaseHTTPRequestHandler):
    """Answers as the hub does, and keeps what it was asked."""

    asked: ClassVar[list[tuple[str, str | None]]] = []

    def do_DELETE(self) -> None:
        self.asked.append((self.path, self.headers["Authorization"]))
        status, message = {"known": (200, "OK"), "unknown": (404, "id: expected an interaction in which something goes on")}.get(
            self.path.rsplit("/", 1)[1], (403, "this credential may not stop and start parts of the server")
        )
        body = orjson.dumps({"status": {"code": status, "message": message}})
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("identifier", "code", "said"),
    [
        ("known", 0, "The interaction known is cleared."),
        ("unknown", 1, "id: expected an interaction in which something goes on"),
        ("not mine", 2, "answered HTTP 403: this credential may not"),
    ],
)
def test_an_interaction_is_cleared(url: str, identifier: str, code: int, said: str) -> None:
    Hub.asked.clear()
    result = runner.invoke(app, ["interaction", "clear", identifier, "--url", url, "--token", "T"])
    assert result.exit_code == code
    assert said in " ".join((result.stdout + result.stderr).split())
    assert Hub.asked == [(f"/api/v1/statistics/interactions/{identifier.replace(' ', '%20')}", "Bearer T")]


def test_a_hub_that_is_not_there() -> None:
    result = runner.invoke(app, ["interaction", "clear", "i", "--url", "http://127.0.0.1:1"])
    assert result.exit_code == 2
    assert "cannot be reached" in result.stderr
