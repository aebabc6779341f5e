"""``hub file`` on a real database and a real store."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from channels.files import cli, store_files
from channels.files.family import family
from channels.files.participants import store_chats
from channels.files.participants.models import Chat
from hub.families import migrations_of
from hub.objects.local import LocalStore
from hub.security import cli as security_cli
from hub.security import cli_database
from hub.storage.service import DatabaseService
from hub.storage.transactions import Transaction
from tests.channels.files.support import CONTACT, new_file

Hub = Callable[..., Result]
T = TypeVar("T")


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
        return runner.invoke(app, [*arguments, "--data-dir", str(tmp_path)])

    run("tenant", "add", "acme")
    return run


def as_json(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_tenant_with_files_and_chats_is_removed_by_force_alone(hub: Hub, tmp_path: Path) -> None:
    for identifier in ("aaaaaaaa-0000-4000-8000-000000000001", "aaaaaaaa-0000-4000-8000-000000000002"):
        insert(tmp_path, identifier)
    begun = Chat("acme", "4712", 1, 1, 0, None, True)
    in_database(tmp_path, lambda tx: store_chats.insert(tx, begun))
    refused = hub("tenant", "remove", "acme")
    assert refused.exit_code == 1
    assert "acme still has 2 files, 1 chat; remove them first, or with --force all at once" in " ".join(refused.output.split())
    assert as_json(hub("tenant", "remove", "acme", "--force", "--json")) == {"removed": "tenant acme"}
    assert in_database(tmp_path, lambda tx: [*tx.rows("SELECT 1 FROM files"), *tx.rows("SELECT 1 FROM chats")]) == []
    hub("tenant", "add", "acme")
    assert as_json(hub("tenant", "remove", "acme", "--json")) == {"removed": "tenant acme"}


async def piece(content: bytes) -> AsyncIterator[bytes]:
    yield content


def in_database(folder: Path, work: Callable[[Transaction], T]) -> T:
    """What a transaction on the database of the commands returns."""

    async def run() -> T:
        storage = DatabaseService(f"sqlite:///{folder / 'hub.db'}", migrations=migrations_of([family]), exclusive=False)
        await storage.start()
        try:
            return await storage.transactions.write(work)
        finally:
            await storage.stop()

    return asyncio.run(run())


def insert(folder: Path, identifier: str, **more: Any) -> str:
    """A file with bytes; returns where they are."""
    key = f"files/{identifier[:2]}/{identifier}/0"

    def write(tx: Transaction) -> None:
        store_files.take_share(tx, "acme", files=1)
        store_files.insert(tx, identifier, new_file(**more), "text/plain", 1_795_956_000_000, 0)
        tx.run("UPDATE files SET object_key = ?, state = 'approved' WHERE id = ?", (key, identifier))

    in_database(folder, write)

    async def run() -> None:
        store = LocalStore(folder / "objects")
        await store.put(key, piece(b"hello"), 5)
        await store.close()

    asyncio.run(run())
    return key


def test_files_are_listed_shown_and_removed(hub: Hub, tmp_path: Path) -> None:
    assert "no files" in hub("file", "list").output
    key = insert(tmp_path, "a" * 36, name="Rechnung 日.txt", resource=CONTACT, interaction_id="4712", tags={"a": "b"})
    insert(tmp_path, "b" * 36)
    assert [each["id"] for each in as_json(hub("file", "list", "--json"))] == ["b" * 36, "a" * 36]
    assert [each["id"] for each in as_json(hub("file", "list", "--interaction", "4712", "--json"))] == ["a" * 36]
    assert len(as_json(hub("file", "list", "--limit", "1", "--json"))) == 1
    assert "Rechnung" in hub("file", "list").stdout
    shown = as_json(hub("file", "show", "a" * 36, "--json"))
    assert (shown["name"], shown["status"], shown["object"], shown["tags"]) == ("Rechnung 日.txt", "APPROVED", key, {"a": "b"})
    assert "2026" in hub("file", "show", "a" * 36).stdout
    assert as_json(hub("file", "remove", "a" * 36, "--json")) == {"removed": f"file {'a' * 36}"}
    assert not (tmp_path / "objects" / key).exists()
    for command in ("show", "remove"):
        refused = hub("file", command, "a" * 36)
        assert refused.exit_code == 1
        assert "hub file list" in refused.output
    assert "removed" in hub("file", "remove", "b" * 36).output
    assert as_json(hub("file", "list", "--json")) == []
