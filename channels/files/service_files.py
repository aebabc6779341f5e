"""The files of all tenants: announced, uploaded by a link, completed, read by a link, deleted (docs/files.md#life-of-a-file)."""

from __future__ import annotations

import asyncio
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import structlog

from channels.files import idempotency, store_files, store_retention, store_scans
from channels.files.changes import FileChanges
from channels.files.checks import check_new
from channels.files.content_check import ContentCheck, Verdict
from channels.files.counters import Counters
from channels.files.errors import (
    BeingCompleted,
    FileNotFound,
    FilesError,
    InvalidFile,
    NotApproved,
    NotUploaded,
    QuotaExceeded,
    QuotaReason,
    TokenReused,
    UploadEnded,
)
from channels.files.models import PREFIX, Call, FilePage, FileRecord, NewFile, UploadLink, digest, incoming_key, objects_of
from channels.files.settings import FilesSettings
from channels.files.state_machine import Action, State
from hub.core.ports import Clock
from hub.http.file_names import disposition as content_disposition
from hub.objects.claim import StoreClaim
from hub.objects.links import Disposition, FileLink, FileLinks, Purpose
from hub.objects.store import ObjectNotFoundError, ObjectStore, ObjectStoreError, StoreUnavailableError
from hub.storage.transactions import StorageError, Transaction, Transactions

RESUMED_AT_ONCE: Final = 16
"""Files whose broken-off check one process takes over at once."""

_TAKING_BYTES: Final = frozenset({State.STARTED, State.UPLOADED})
"""In these states links for an upload are good."""

_log = structlog.get_logger(__name__)


def new_key(identifier: str) -> str:
    """A key of the object store for the bytes of a file. Each upload has one of its own."""
    return f"{PREFIX}{identifier[:2]}/{identifier}/{secrets.token_hex(8)}"


class FileService:
    """The files of all tenants."""

    __slots__ = (
        "_changes",
        "_check",
        "_claim",
        "_clock",
        "_counters",
        "_direct",
        "_links",
        "_settings",
        "_store",
        "_transactions",
        "check_lease_ms",
        "scan_wanted",
    )

    def __init__(
        self,
        *,
        transactions: Transactions,
        store: ObjectStore,
        links: FileLinks,
        changes: FileChanges,
        settings: FilesSettings,
        clock: Clock,
        counters: Counters,
        direct: bool = False,
    ) -> None:
        """``direct``: links lead to the store itself, where it has links (``objects.direct``)."""
        self._transactions = transactions
        self._store = store
        self._links = links
        self._changes = changes
        self._settings = settings
        self._clock = clock
        self._counters = counters
        self._direct = direct
        self._check = ContentCheck(store, settings.extensions)
        self.check_lease_ms: Final = round(settings.check_lease_s * 1000)
        """Milliseconds after which a file is taken from whoever looks at its content: that process has ended."""
        self._claim = StoreClaim(store, transactions)
        self.scan_wanted = asyncio.Event()
        """Set when a file waits for the scanner."""

    # -- announcing -------------------------------------------------------------------------------------------------------

    async def start(self, new: NewFile, base_url: str) -> tuple[FileRecord, UploadLink]:
        """Take an announced file, and make the link for its upload. Where its token came before, that is the file, with a new link.

        Raises:
            InvalidFile: a field is wrong.
            QuotaExceeded: the resource or the tenant has as much as it may.
            TokenReused: the token came before with other fields, or its file was deleted or completed: no link leads to it any more.
            StorageError: the database cannot be written.
        """
        try:
            content_type = check_new(new, self._settings)
        except InvalidFile:
            self._counters.refused_invalid += 1
            raise
        now_ms = self._clock.wall_ms()
        expires_ms = now_ms + new.url_expiry_s * 1000
        try:
            file = await self._transactions.write(lambda tx: self._start(tx, new, content_type, now_ms, expires_ms))
        except QuotaExceeded:
            self._counters.refused_quota += 1
            raise
        except TokenReused:
            self._counters.refused_token += 1
            raise
        return file, self._upload_link(file, new.url_expiry_s, expires_ms, base_url)

    def _start(self, tx: Transaction, new: NewFile, content_type: str, now_ms: int, expires_ms: int) -> FileRecord:
        identifier = str(uuid.uuid4())
        store_files.take_share(tx, new.tenant)  # one announcement of a tenant after the other: they count what there is
        if new.client_token is not None:
            try:
                named = idempotency.claim(tx, new, identifier, now_ms)
            except idempotency.ReusedError:
                raise TokenReused("the token was used for a file with other fields: use a new one") from None
            if named != identifier:
                return self._again(tx, new.tenant, named, expires_ms)
        share = store_files.take_share(tx, new.tenant, files=1, tokens=int(new.client_token is not None))
        self._check_quota(tx, new, share)
        tx.after_commit(self._count_started)
        return store_files.insert(tx, identifier, new, content_type, now_ms, expires_ms)

    def _again(self, tx: Transaction, tenant: str, identifier: str, expires_ms: int) -> FileRecord:
        file = store_files.lock(tx, tenant, identifier)
        if file is None:
            raise TokenReused("the file of this token was deleted: use a new one")
        if file.state not in _TAKING_BYTES:
            raise TokenReused(f"the file {identifier} of this token is {file.status} and takes no bytes: for another file use a new token")
        tx.after_commit(self._count_repeated)
        if file.state is State.STARTED and file.link_ends_ms < expires_ms:
            file = replace(file, link_ends_ms=expires_ms)
            store_files.save(tx, file)
        return file

    def _check_quota(self, tx: Transaction, new: NewFile, share: store_files.Share) -> None:
        settings = self._settings
        if share.files > settings.tenant_files:
            raise QuotaExceeded(QuotaReason.COUNT, f"expected at most {settings.tenant_files} files of a tenant (files.tenant_files)")
        if share.tokens > (tokens := 2 * settings.tenant_files):
            expected = f"expected at most {tokens} tokens of uploads within 24 hours of a tenant (twice files.tenant_files)"
            raise QuotaExceeded(QuotaReason.COUNT, f"{expected}: announce without a token, or later")
        if new.call is Call.PARTICIPANT and store_files.announced_by(tx, new) >= (announced := settings.participant_announced):
            # else a customer could take every place of the chat, for an hour, without a byte
            expected = f"expected at most {announced} files of a participant that are announced and not completed"
            raise QuotaExceeded(QuotaReason.COUNT, f"{expected} (files.participant_announced): complete or delete one, or wait for its end")
        most, setting = self._most(new)
        count, size = store_files.used_by(tx, new)
        if count >= most:
            raise QuotaExceeded(QuotaReason.COUNT, f"expected at most {most} files of {_kind(new)} (files.{setting})")
        if size + new.size > settings.resource_bytes:
            expected = f"expected at most {settings.resource_bytes} bytes of all files of {_kind(new)} (files.resource_bytes)"
            raise QuotaExceeded(QuotaReason.SIZE, f"{expected}, got {size + new.size}")

    def _most(self, new: NewFile) -> tuple[int, str]:
        if new.interaction_id is not None:
            return self._settings.chat_files, "chat_files"
        if _is_email(new.resource):
            return self._settings.email_files, "email_files"
        return self._settings.resource_files, "resource_files"

    def _upload_link(self, file: FileRecord, expiry_s: int, expires_ms: int, base_url: str) -> UploadLink:
        if self._direct and (link := self._store.sign_put(incoming_key(file.id), file.size, file.content_type, expiry_s)) is not None:
            return UploadLink(link.url, expires_ms, dict(link.headers))
        url = self._links.make(
            base_url, FileLink(file.tenant, file.id, Purpose.FILE, expires_ms, size=file.size, content_type=file.content_type)
        )
        return UploadLink(url, expires_ms, {"Content-Type": file.content_type, "Content-Length": str(file.size)})

    # -- completing -------------------------------------------------------------------------------------------------------

    async def complete(self, tenant: str, file_id: str, *, call: str, resource: str, client_token: str | None) -> FileRecord:
        """Look at the content of an uploaded file, and decide; where there is a scanner, it decides later. What is decided already, or
        under way by the same token, is returned as it is.

        Raises:
            FileNotFound: the resource has no such file.
            NotUploaded: its bytes have not come.
            BeingCompleted: a call with another token is under way.
            UploadEnded: it has failed, because nobody completed it in time or its bytes are gone.
            ObjectStoreError: the store does not answer; the call can be repeated, and without that :meth:`resume` looks at the content.
            StorageError: the database cannot be used.
        """
        by = None if client_token is None else digest([tenant, call, resource, client_token])
        arrived = await self._fetch_incoming(tenant, file_id, resource) if self._direct else None
        now_ms = self._clock.wall_ms()
        named = True  # after any other failure than a refusal perhaps a row names the copy: the sweep knows
        try:
            file, begun = await self._transactions.write(lambda tx: self._begin(tx, tenant, file_id, resource, by, arrived, now_ms))
            named = begun is not None and begun.key == arrived
        except FilesError:
            named = False
            raise
        finally:
            if arrived is not None and not named:
                await self._store.delete([arrived])
        return file if begun is None else await self._look(begun)

    async def _fetch_incoming(self, tenant: str, file_id: str, resource: str) -> str | None:
        """Copy what a client uploaded to the store itself to a key that no link leads to. Returns that key; None: the bytes are there
        already, or never came.
        """
        file = await self.get(tenant, file_id, resource=resource)
        if file.state is not State.STARTED:
            return None
        key = new_key(file_id)
        try:
            if (await self._store.head(incoming_key(file_id))).size != file.size:
                return None
            await self._store.copy(incoming_key(file_id), key)
        except ObjectNotFoundError:
            return None
        return key

    def _begin(
        self, tx: Transaction, tenant: str, file_id: str, resource: str, by: str | None, arrived: str | None, now_ms: int
    ) -> tuple[FileRecord, FileRecord | None]:
        """The file as it is, and if this call has to look at its content, the file as it looks at it."""
        file = store_files.lock(tx, tenant, file_id)
        if file is None or file.resource != resource:
            raise _unknown(file_id)
        if file.state is State.STARTED and arrived is not None:
            file = self._changes.move(tx, file, Action.UPLOAD, now_ms, uploaded_ms=now_ms, key=arrived)
        if file.state is State.STARTED:
            raise NotUploaded(f"the bytes of the file {file_id} have not come: upload them by the link first")
        if file.state is State.FAILED:
            raise UploadEnded(f"the file {file_id} has failed ({file.reason}): announce it again")
        # a check of a time that is yet to come was begun by a clock that was ahead
        if file.state is State.CHECKING and file.checking_ms is not None and abs(now_ms - file.checking_ms) >= self.check_lease_ms:
            file = self._changes.move(tx, file, Action.PUT_BACK, now_ms)
        if file.state is State.UPLOADED:
            file = self._changes.move(tx, file, Action.COMPLETE, now_ms, checking_ms=now_ms, completed_by=by)
            return file, file
        if not file.state.decided and file.completed_by != by:
            raise BeingCompleted(f"the file {file_id} is being completed by a call with another token")
        return file, None

    async def resume(self, before_ms: int) -> int:
        """Look at files whose check began before a moment and did not end: the hub that looked at them was killed, and perhaps a client was
        told already that its file is complete. Returns how many were decided.

        Raises:
            StorageError: the database cannot be used.
            ObjectStoreError: the store does not work; the next call goes on. One that does not give a single file is asked for the others,
                and for that one when the lease of this check is over.
        """
        now_ms = self._clock.wall_ms()
        total = 0
        while left := await self._transactions.write(
            lambda tx: store_retention.claim_checks(tx, before_ms, now_ms, now_ms + self.check_lease_ms, RESUMED_AT_ONCE)
        ):
            for file in left:
                try:
                    await self._decided(file, await self._verdict(file))
                except FileNotFound:
                    continue  # deleted meanwhile
                except StorageError:
                    raise
                except ObjectStoreError as error:
                    if await self._store.check() is not None:
                        raise
                    # the store works, and does not give this file: those behind it must be decided all the same
                    self._counters.checks_failed += 1
                    _log.warning("file_not_readable", file=file.id, tenant=file.tenant, error=str(error))
                except Exception:  # a fault of the hub: the files behind this one must be decided all the same
                    _log.exception("file_not_checked", file=file.id, tenant=file.tenant)
            total += len(left)
        return total

    async def decide_unscanned(self) -> int:
        """Where no scanner is set, approve what still waits for one: its content is what its name says, and without a scanner that decides.
        What a scanner is looking at for another hub is left to it. Returns how many were approved.

        Raises:
            StorageError: the database cannot be used.
        """
        total = 0
        while not self._settings.scanner_url and (count := await self._transactions.write(self._approve_waiting)):
            total += count
        return total

    def _approve_waiting(self, tx: Transaction) -> int:
        now_ms = self._clock.wall_ms()
        waiting = store_scans.lock_waiting(tx, now_ms, RESUMED_AT_ONCE)
        for file in waiting:
            self._changes.move(tx, file, Action.APPROVE, now_ms)
        return len(waiting)

    async def _look(self, file: FileRecord) -> FileRecord:
        try:
            verdict = await self._verdict(file)
        except ObjectStoreError:
            await self._transactions.write(lambda tx: self._let_go(tx, file))
            raise
        decided = await self._decided(file, verdict)
        if decided.state is State.FAILED:
            raise UploadEnded(f"the file {file.id} has failed ({decided.reason}): announce it again")
        return decided

    async def _verdict(self, file: FileRecord) -> Verdict | None:
        """What its content says; None: its bytes are gone.

        Raises:
            StoreUnavailableError: the store does not answer, or is not the one that has had the bytes.
        """
        try:
            return await self._check.check(file)
        except ObjectNotFoundError:
            if await self._claim.held_at(file.uploaded_ms or file.created_ms):
                return None
            text = f"the bytes of the file {file.id} are not in the store, which has not been this hub's since they came: is it mounted?"
            raise StoreUnavailableError(text) from None

    async def _decided(self, file: FileRecord, verdict: Verdict | None) -> FileRecord:
        now_ms = self._clock.wall_ms()
        decided = await self._transactions.write(lambda tx: self._decide(tx, file, verdict, now_ms))
        if decided.state is State.SCANNING:
            self.scan_wanted.set()
        left = [file.key] if decided.key is None and file.key is not None else []
        if self._direct:  # what the check looked at is a copy
            left.append(incoming_key(file.id))
        if left:
            await self._store.delete(left)
        return decided

    def _let_go(self, tx: Transaction, file: FileRecord) -> None:
        """Let anybody take over the check: the call when it is repeated, or :meth:`resume`. The file stays complete, for another call may
        have been told so meanwhile.
        """
        if (now := self._still(tx, file)) is not None:
            store_files.save(tx, replace(now, checking_ms=0))

    def _decide(self, tx: Transaction, file: FileRecord, verdict: Verdict | None, now_ms: int) -> FileRecord:
        now = self._still(tx, file)
        if now is None:
            found = store_files.find(tx, file.tenant, file.id)
            if found is None:
                raise _unknown(file.id)
            return found
        if verdict is None:
            return self._changes.move(tx, now, Action.FAIL, now_ms, reason="its bytes are not in the store any more")
        if verdict.refusal:
            return self._changes.move(tx, now, Action.REJECT, now_ms, reason=verdict.refusal)
        action = Action.SCAN if self._settings.scanner_url else Action.APPROVE
        return self._changes.move(tx, now, action, now_ms, content_type=verdict.content_type)

    def _still(self, tx: Transaction, file: FileRecord) -> FileRecord | None:
        """The file, locked, if its content is still looked at by the same call."""
        found = store_files.lock(tx, file.tenant, file.id)
        same = found is not None and found.state is State.CHECKING and found.checking_ms == file.checking_ms
        return found if same else None

    # -- reading ----------------------------------------------------------------------------------------------------------

    async def get(self, tenant: str, file_id: str, *, resource: str | None = None) -> FileRecord:
        """A file of a resource; without one, of any resource of the tenant.

        Raises:
            FileNotFound: there is none.
            StorageError: the database cannot be read.
        """
        found = await self._transactions.read(lambda tx: store_files.find(tx, tenant, file_id))
        if found is None or (resource is not None and found.resource != resource):
            raise _unknown(file_id)
        return found

    async def download_link(
        self, file: FileRecord, base_url: str, *, expiry_s: int, disposition: Disposition = Disposition.ATTACHMENT
    ) -> tuple[str, int]:
        """A link to an approved file, and when it ends, in milliseconds since 1970 UTC.

        Raises:
            NotApproved: it may not be read.
        """
        if file.state is not State.APPROVED or file.key is None:
            raise NotApproved(f"the file {file.id} is {file.status}: only an approved file can be read")
        expires_ms = self._clock.wall_ms() + expiry_s * 1000
        if self._direct:
            shown = content_disposition(file.name, inline=disposition is Disposition.INLINE)
            if (link := self._store.sign_get(file.key, shown, file.content_type, expiry_s)) is not None:
                return link.url, expires_ms
        made = FileLink(file.tenant, file.id, Purpose.FILE, expires_ms, disposition=disposition)
        return self._links.make(base_url, made), expires_ms

    async def batch(self, tenant: str, resource: str, ids: Sequence[str]) -> tuple[list[FileRecord], list[str]]:
        """Those of these files that belong to a resource, in the order of the ids; and the ids of the others.

        Raises:
            StorageError: the database cannot be read.
        """
        wanted = list(dict.fromkeys(ids))
        found = await self._transactions.read(lambda tx: store_files.some(tx, tenant, resource, wanted)) if wanted else []
        by_id = {file.id: file for file in found}
        return [by_id[each] for each in wanted if each in by_id], [each for each in wanted if each not in by_id]

    async def of_interaction(self, tenant: str, interaction_id: str, after: int | None, limit: int) -> FilePage:
        """The files of an interaction, the newest first; ``after`` is the cursor of the page before.

        Raises:
            StorageError: the database cannot be read.
        """
        found = await self._transactions.read(lambda tx: store_files.of_interaction(tx, tenant, interaction_id, after, limit + 1))
        return FilePage(found[:limit], found[limit - 1].number if len(found) > limit else None)

    # -- deleting ---------------------------------------------------------------------------------------------------------

    async def delete(self, tenant: str, file_id: str, *, resource: str | None = None) -> None:
        """Delete a file and its bytes. Links to it end.

        Raises:
            FileNotFound: there is none.
            StorageError: the database cannot be written.
            ObjectStoreError: the store does not answer: the file is deleted, and its bytes will be.
        """

        def write(tx: Transaction) -> FileRecord:
            file = store_files.lock(tx, tenant, file_id)
            if file is None or (resource is not None and file.resource != resource):
                raise _unknown(file_id)
            self._changes.delete(tx, file)
            return file

        await self._store.delete(objects_of(await self._transactions.write(write)))

    def _count_started(self) -> None:
        self._counters.started += 1

    def _count_repeated(self) -> None:
        self._counters.repeated += 1


def _unknown(file_id: str) -> FileNotFound:
    return FileNotFound(f"there is no such file here: {file_id[:100]!r}")


def _is_email(resource: str) -> bool:
    return "/email/" in resource.rpartition(":")[2] or resource.rpartition(":")[2].startswith("email/")


def _kind(new: NewFile) -> str:
    if new.interaction_id is not None:
        return "a chat" if new.call == Call.PARTICIPANT else "a contact"
    return "an e-mail" if _is_email(new.resource) else "a resource"
