"""The bytes of attachments: objects of the hub's store, or rows of the database where the hub has no store that all its nodes share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Final

import structlog

from channels.secure_email.models import Attachment, Draft, MailWithAttachments
from hub.objects.folder import ObjectFolder, new_id
from hub.objects.store import ObjectNotFoundError, StoreUnavailableError

PREFIX: Final = "secure_email/"
"""The folder of attachments in a store that other families use, too."""

_log = structlog.get_logger(__name__)


class AttachmentStore:
    """Keeps and finds the bytes of attachments."""

    __slots__ = ("_folder", "_takes_new")

    def __init__(self, folder: ObjectFolder, *, takes_new: bool) -> None:
        """``takes_new``: whether the bytes of new attachments become objects; otherwise they are in their rows. Objects of earlier ones
        stay readable in both cases.
        """
        self._folder = folder
        self._takes_new = takes_new

    async def keep(self, draft: Draft) -> Draft:
        """Make the attachments of a mail that somebody sends objects. When this returns they are durable; the draft that is returned names
        them, and has no bytes.

        Raises:
            StoreUnavailableError: the store does not take one; none is left.
        """
        if not self._takes_new or not draft.attachments:
            return draft
        kept: list[Attachment] = []
        try:
            for each in draft.attachments:
                assert each.content is not None
                identifier = new_id()
                await self._folder.write(identifier, each.content)
                kept.append(each._replace(object=identifier, content=b""))
        except StoreUnavailableError:
            await self.remove(objects_of(kept))
            raise
        return replace(draft, attachments=tuple(kept))

    async def contents(self, found: MailWithAttachments) -> MailWithAttachments:
        """A mail whose attachments have their contents. One whose object is lost stays without.

        Raises:
            StoreUnavailableError: the store does not answer.
        """
        filled = []
        for each in found.attachments:
            if each.object is None:
                filled.append(each)
                continue
            try:
                filled.append(each._replace(content=await self._folder.read(each.object)))
            except ObjectNotFoundError:
                _log.error("attachment_lost", mail=found.mail.id, number=each.number)
                filled.append(each._replace(content=None))
        return found._replace(attachments=tuple(filled))

    async def open(self, attachment: Attachment) -> AsyncIterator[bytes]:
        """The bytes of an attachment that was read from the database, in pieces.

        Raises:
            ObjectNotFoundError: its object is gone.
            StoreUnavailableError: the store does not answer.
        """
        if attachment.object is not None:
            return await self._folder.open(attachment.object)
        assert attachment.content is not None
        return _one(attachment.content)

    async def remove(self, objects: Sequence[str]) -> None:
        """Remove the objects of attachments whose rows are gone. A store that does not answer is no error: the sweep removes them later."""
        try:
            await self._folder.remove(objects)
        except StoreUnavailableError as error:
            _log.warning("attachments_left_to_the_sweep", objects=len(objects), error=str(error))


def objects_of(attachments: Sequence[Attachment]) -> list[str]:
    """The ids of the objects of attachments, as far as they have one."""
    return [each.object for each in attachments if each.object is not None]


async def _one(content: bytes) -> AsyncIterator[bytes]:
    yield content
