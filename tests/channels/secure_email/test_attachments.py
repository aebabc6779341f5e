"""The bytes of attachments in the object store, those of earlier versions on their way there, and what a failure leaves."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from channels.secure_email.attachment_store import PREFIX
from channels.secure_email.build import stores_attachments
from channels.secure_email.family import family
from channels.secure_email.models import Unmoved
from hub.objects.folder import ORPHAN_S, ObjectFolder
from hub.objects.local import LocalStore
from hub.objects.open_store import open_store
from hub.objects.settings import ObjectsSettings
from hub.objects.store import Stored, StoreUnavailableError
from hub.ops.settings import model_of
from hub.storage.transactions import StorageError
from tests.channels.secure_email.support import MAILS, PDF, PNG, Office, attached
from tests.hub.objects.test_store import keys, put
from tests.support.s3_server import S3Server
from tests.world import ManualClock

LARGE = PNG + bytes(range(256)) * 2000


class Killed(BaseException):
    """Ends what runs, as the end of the process would: nobody handles it."""


async def in_database(office: Office) -> int:
    """How many attachments have their bytes in the database."""
    row = await office.transactions.read(lambda tx: tx.row("SELECT count(*) FROM secure_mail_attachments WHERE object IS NULL"))
    assert row is not None
    return int(row[0])


async def bytes_in_database(office: Office) -> int:
    row = await office.transactions.read(lambda tx: tx.row("SELECT coalesce(sum(length(content)), 0) FROM secure_mail_attachments"))
    assert row is not None
    return int(row[0])


def earlier(office: Office) -> Office:
    """The same office, whose mails are sent as earlier versions did: with the bytes in the database."""
    return Office(office.transactions, office.database, office.objects, takes_new=False)


async def contents(office: Office, identifier: str) -> list[bytes]:
    """The contents of a mail's attachments by both calls, which must agree."""
    mail = await office.mail(identifier)
    found = [base64.b64decode(each["content"]) for each in mail["attachments"]]
    one_by_one = [(await office.call("GET", f"{MAILS}/{identifier}/attachments/{number + 1}")).content for number in range(len(found))]
    assert one_by_one == found
    assert [each["size"] for each in mail["attachments"]] == [len(each) for each in found]
    return found


def later(office: Office, seconds: float) -> None:
    """Let time pass, of which the store's own clock knows nothing."""
    office.clock.now_ms += int(seconds * 1000) + 100 * 365 * 86_400_000


# -- new ones ---------------------------------------------------------------------------------------------------------


async def test_new_attachments_are_objects_of_the_family(office: Office) -> None:
    identifier = await office.send(attachments=[attached("a.png", LARGE), attached("b.pdf", PDF)])
    assert await contents(office, identifier) == [LARGE, PDF]
    assert (await in_database(office), await bytes_in_database(office)) == (0, 0)
    found = await keys(office.objects)
    assert len(found) == 2
    assert all(each.startswith(PREFIX) for each in found)


async def test_an_answer_of_the_contact_centre_has_them_too(office: Office) -> None:
    identifier = await office.reply(to="ana@example.com", subject="Yours", attachments=[attached("b.pdf", PDF)])
    assert await contents(office, identifier) == [PDF]
    assert len(await keys(office.objects)) == 1


async def test_the_bytes_are_durable_before_the_row(light: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    write = light.transactions.write

    async def noted(operation: Any) -> Any:
        seen.append(len(await keys(light.objects)))
        return await write(operation)

    monkeypatch.setattr(light.transactions, "write", noted)
    await light.send(attachments=[attached("a.png"), attached("b.pdf", PDF)])
    assert seen == [2]


async def test_a_mail_that_is_refused_leaves_no_object(light: Office) -> None:
    response = await light.call(
        "POST", MAILS, json={"data": {"from": "ana@example.com", "text": "x", "inReplyTo": "3f2c6d0e-8b6f-4d0a-9a3e-6f2f9b1d7c55"}}
    )
    assert response.status_code == 400
    data = {"from": "ana@example.com", "text": "x", "inReplyTo": "3f2c6d0e-8b6f-4d0a-9a3e-6f2f9b1d7c55", "attachments": [attached()]}
    assert (await light.call("POST", MAILS, json={"data": data})).status_code == 400
    assert await keys(light.objects) == []


async def test_of_a_mail_whose_commit_broke_the_sweep_decides(light: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """The row may be there although the database said that it could not be written: then the object must be, too."""
    write = light.transactions.write

    async def broken(operation: Any) -> Any:
        await write(operation)
        raise StorageError("the connection broke while committing")

    async def away(operation: Any) -> Any:
        raise StorageError("away")

    data = {"data": {"from": "ana@example.com", "text": "x", "attachments": [attached()]}}
    for fault in (broken, away):
        monkeypatch.setattr(light.transactions, "write", fault)
        response = await light.call("POST", MAILS, json=data)
        assert (response.status_code, response.json()["status"]["code"]) == (503, "FAILURE")
        monkeypatch.undo()
    assert len(await keys(light.objects)) == 2
    later(light, ORPHAN_S)
    assert await light.retention.sweep() == 1
    (mail,) = (await light.get(MAILS, address="ana@example.com"))["data"]
    assert await contents(light, mail["secureMailId"]) == [PNG]


async def test_a_store_that_takes_nothing_is_told_and_no_mail_is_there(light: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    write, times = ObjectFolder.write, 0

    async def once(folder: ObjectFolder, identifier: str, content: bytes) -> Stored:
        nonlocal times
        times += 1
        if times > 1:
            raise StoreUnavailableError("no space left on device", "ENOSPC")
        return await write(folder, identifier, content)

    monkeypatch.setattr(ObjectFolder, "write", once)
    data = {"from": "ana@example.com", "text": "x", "attachments": [attached(), attached("b.pdf", PDF)]}
    response = await light.call("POST", MAILS, json={"data": data})
    answer = response.json()
    assert (response.status_code, answer["status"]["code"], response.headers["retry-after"]) == (503, "FAILURE", "2")
    assert "ENOSPC" not in response.text
    assert await light.count() == 0
    assert await keys(light.objects) == []
    monkeypatch.undo()
    assert await contents(light, await light.send(attachments=[attached()])) == [PNG]


async def test_an_object_that_somebody_has_removed(light: Office) -> None:
    identifier = await light.send(text="still here", attachments=[attached()])
    await light.objects.delete(await keys(light.objects))
    mail = await light.mail(identifier)
    assert mail["text"] == "still here"
    assert "content" not in mail["attachments"][0]
    response = await light.call("GET", f"{MAILS}/{identifier}/attachments/1")
    assert (response.status_code, response.json()["status"]["detail"]) == (404, "number")


# -- removal ----------------------------------------------------------------------------------------------------------


async def test_purging_removes_the_object(office: Office) -> None:
    identifier = await office.send(attachments=[attached(), attached("b.pdf", PDF)])
    kept = await office.send(attachments=[attached()])
    assert (await office.call("DELETE", f"{MAILS}/{identifier}?remove=purge")).status_code == 200
    assert len(await keys(office.objects)) == 1
    assert await contents(office, kept) == [PNG]


async def test_trimming_removes_the_objects(office: Office) -> None:
    for _ in range(3):
        identifier = await office.send(attachments=[attached()])
        await office.call("DELETE", f"{MAILS}/{identifier}?remove=delete")
    assert len(await keys(office.objects)) == 3, "a deleted mail is kept"
    office.clock.now_ms += 366 * 86_400_000
    assert await office.retention.trim() == 3
    assert await keys(office.objects) == []


async def test_what_cannot_be_removed_now_is_removed_by_the_sweep(light: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: object) -> None:
        raise StoreUnavailableError("away")

    identifier = await light.send(attachments=[attached()])
    monkeypatch.setattr(LocalStore, "delete", away)
    assert (await light.call("DELETE", f"{MAILS}/{identifier}?remove=purge")).status_code == 200, "the mail is gone for every reader"
    monkeypatch.undo()
    assert len(await keys(light.objects)) == 1
    assert await light.retention.sweep() == 0, "it is young"
    later(light, ORPHAN_S)
    assert await light.retention.sweep() == 1
    assert await keys(light.objects) == []


async def test_objects_of_a_removed_tenant_are_swept(office: Office) -> None:
    await office.send(attachments=[attached()])
    await office.transactions.write(lambda tx: tx.run("DELETE FROM tenants WHERE name = 'acme'"))
    later(office, ORPHAN_S)
    assert await office.retention.sweep() == 1
    assert await keys(office.objects) == []


async def test_a_sweep_sees_its_own_folder_alone(light: Office) -> None:
    lost = "3f2c6d0e-8b6f-4d0a-9a3e-6f2f9b1d7c55"
    others = [f"files/acme/3f/{lost}", f"messaging/3f/{lost}", f"secure_emails/3f/{lost}", f"3f/{lost}", f"{PREFIX}no id"]
    for key in [*others, f"{PREFIX}3f/{lost}"]:
        await put(light.objects, key)
    identifier = await light.send(attachments=[attached()])
    later(light, ORPHAN_S)
    assert await light.retention.sweep() == 1
    assert len(await keys(light.objects)) == len(others) + 1
    assert await contents(light, identifier) == [PNG]


# -- those of earlier versions ----------------------------------------------------------------------------------------


async def test_attachments_in_the_database_are_read_where_they_are_and_moved(office: Office) -> None:
    old = [await earlier(office).send(attachments=[attached("a.png", LARGE), attached("b.pdf", PDF)]) for _ in range(3)]
    new = await office.send(attachments=[attached("c.png")])
    assert await in_database(office) == 6
    for identifier in old:
        assert await contents(office, identifier) == [LARGE, PDF]
    assert await office.moves.trim() == 6
    assert (await in_database(office), await bytes_in_database(office)) == (0, 0)
    assert len(await keys(office.objects)) == 7
    for identifier in old:
        assert await contents(office, identifier) == [LARGE, PDF]
    assert await contents(office, new) == [PNG]
    assert await office.moves.trim() == 0
    assert office.mails.counters.moved_attachments == 6


async def test_more_than_a_slice_is_moved(light: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("channels.secure_email.moves.SLICE", 2)
    for _ in range(3):
        await earlier(light).send(attachments=[attached(), attached("b.pdf", PDF)])
    assert await light.moves.trim() == 6
    assert await in_database(light) == 0


@pytest.mark.parametrize("step", ["before the copy", "after the copy", "after the comparison", "after the row", "between two"])
async def test_a_move_that_is_killed_leaves_one_copy_that_is_read_and_goes_on(
    office: Office, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    identifier = await earlier(office).send(attachments=[attached("a.png", LARGE), attached("b.pdf", PDF)])
    moves: dict[str, tuple[Any, str, bool]] = {
        "before the copy": (ObjectFolder, "write", False),
        "after the copy": (ObjectFolder, "write", True),
        "after the comparison": (ObjectFolder, "measure", True),
        "after the row": (type(office.transactions), "write", True),
        "between two": (type(office.transactions), "read", False),
    }
    owner, name, does_it = moves[step]
    real: Callable[..., Any] = getattr(owner, name)
    calls = 0

    async def killed(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if step == "between two" and calls < 3:  # the list, the first content; then the second
            return await real(*arguments)
        if does_it:
            await real(*arguments)
        raise Killed

    monkeypatch.setattr(owner, name, killed)
    with pytest.raises(Killed):
        await office.moves.trim()
    monkeypatch.undo()
    assert await contents(office, identifier) == [LARGE, PDF]
    again = Office(office.transactions, office.database, office.objects)
    assert await again.moves.trim() == (1 if step in ("after the row", "between two") else 2)
    assert await contents(office, identifier) == [LARGE, PDF]
    assert await in_database(office) == 0
    later(again, ORPHAN_S)
    assert await again.retention.sweep() == (1 if step in ("after the copy", "after the comparison") else 0)
    assert len(await keys(office.objects)) == 2
    assert await contents(office, identifier) == [LARGE, PDF]


async def test_a_copy_that_is_damaged_is_not_taken(light: Office, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    identifier = await earlier(light).send(attachments=[attached("a.png", LARGE)])
    write = ObjectFolder.write

    async def damaged(folder: ObjectFolder, name: str, content: bytes) -> Stored:
        stored = await write(folder, name, content)
        next((tmp_path / "objects").rglob(name)).write_bytes(found.pop())
        return stored

    found = [LARGE[:-1], LARGE + b"x", LARGE[:-1] + b"x"]
    monkeypatch.setattr(ObjectFolder, "write", damaged)
    while found:
        with pytest.raises(StoreUnavailableError, match="other bytes"):
            await light.moves.trim()
        assert await keys(light.objects) == []
        assert await contents(light, identifier) == [LARGE]
    monkeypatch.undo()
    assert await light.moves.trim() == 1


async def test_a_mail_that_is_purged_while_it_is_moved_leaves_nothing(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    identifier = await earlier(office).send(attachments=[attached("a.png", LARGE)])
    measure = ObjectFolder.measure

    async def purged(folder: ObjectFolder, name: str, size: int) -> Stored | None:
        found = await measure(folder, name, size)
        assert (await office.call("DELETE", f"{MAILS}/{identifier}?remove=purge")).status_code == 200
        return found

    monkeypatch.setattr(ObjectFolder, "measure", purged)
    assert await office.moves.trim() == 0
    assert await keys(office.objects) == []


async def test_two_hubs_move_an_attachment_once(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    identifier = await earlier(office).send(attachments=[attached("a.png", LARGE)])
    other = Office(office.transactions, office.database, office.objects)
    measure, inside = ObjectFolder.measure, False

    async def meanwhile(folder: ObjectFolder, name: str, size: int) -> Stored | None:
        nonlocal inside
        found = await measure(folder, name, size)
        if not inside:
            inside = True
            assert await other.moves.trim() == 1
        return found

    monkeypatch.setattr(ObjectFolder, "measure", meanwhile)
    assert await office.moves.trim() == 0
    assert len(await keys(office.objects)) == 1
    assert await contents(office, identifier) == [LARGE]


async def test_moves_go_on_after_the_store_was_away(light: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    identifier = await earlier(light).send(attachments=[attached()])
    write, faults = ObjectFolder.write, 3

    async def away_at_first(folder: ObjectFolder, name: str, content: bytes) -> Stored:
        nonlocal faults
        if faults:
            faults -= 1
            raise StoreUnavailableError("away")
        return await write(folder, name, content)

    monkeypatch.setattr(ObjectFolder, "write", away_at_first)
    monkeypatch.setattr(light.moves, "_period_s", 0.01)
    await light.moves.start()
    while await in_database(light):
        pass
    await light.moves.stop()
    assert faults == 0
    assert await contents(light, identifier) == [PNG]


async def test_an_attachment_that_is_gone_is_not_moved(light: Office) -> None:
    assert await light.moves._move(Unmoved(1, 1)) is False
    assert await keys(light.objects) == []


# -- where they lie ---------------------------------------------------------------------------------------------------


async def test_hubs_without_a_common_store_keep_them_in_the_database(office: Office) -> None:
    """And all else is as before: purging takes them along."""
    identifier = await earlier(office).send(attachments=[attached("a.png", LARGE)])
    assert await contents(earlier(office), identifier) == [LARGE]
    assert await keys(office.objects) == []
    assert (await earlier(office).call("DELETE", f"{MAILS}/{identifier}?remove=purge")).status_code == 200
    assert await in_database(office) == 0


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, True),
        ({"database_url": "postgresql://hub@db/hub"}, False),
        ({"database_url": "postgresql://hub@db/hub", "objects": {"url": "s3://files"}}, True),
        ({"database_url": "postgresql://hub@db/hub", "objects": {"url": "file:///srv/objects"}}, True),
    ],
)
def test_a_store_is_common_to_the_hubs_of_a_database(given: dict[str, Any], expected: bool) -> None:
    assert stores_attachments(model_of([family])(**given)) is expected


async def test_on_a_server_of_s3(light: Office, s3_server: S3Server, tmp_path: Path) -> None:
    store = open_store(ObjectsSettings(**s3_server.settings(s3_server.bucket())), tmp_path, ManualClock())
    office = Office(light.transactions, light.database, store)
    old = await earlier(office).send(attachments=[attached("a.png", LARGE)])
    new = await office.send(attachments=[attached("b.pdf", PDF)])
    assert await office.moves.trim() == 1
    assert [await contents(office, each) for each in (old, new)] == [[LARGE], [PDF]]
    later(office, ORPHAN_S)
    assert await office.retention.sweep() == 0
    assert (await office.call("DELETE", f"{MAILS}/{old}?remove=purge")).status_code == 200
    assert len(await keys(store)) == 1
