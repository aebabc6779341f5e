import gzip
import json
from pathlib import Path

import typer
from typer.testing import CliRunner

from channels.simulator.cli import register

SAMPLES = Path(__file__).parents[3] / "samples"


def test_the_sample_is_what_its_readme_says(tmp_path: Path) -> None:
    app = typer.Typer()
    app.callback()(lambda: None)
    register(app)
    made = ["--centre", "office", "--seed", "1", "--day", "2026-03-02", "--zone", "UTC"]
    result = CliRunner().invoke(app, ["simulate", *made, "--output", str(tmp_path / "day"), "--books", str(tmp_path / "books")])
    assert result.exit_code == 0, result.output
    day = gzip.decompress((SAMPLES / "office-day.ndjson.gz").read_bytes())
    assert day == (tmp_path / "day").read_bytes()
    assert f"{len(day.splitlines()):,} events" in (SAMPLES / "README.md").read_text()
    assert json.loads((SAMPLES / "office-day.books.json").read_text()) == json.loads((tmp_path / "books").read_text())
