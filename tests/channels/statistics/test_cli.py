"""``hub explain``."""

from __future__ import annotations

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
