"""Removes objects for jobs that have more to remove: one object that the store does not remove keeps no other one."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence

import structlog

from hub.objects.store import ObjectStore, ObjectStoreError

_log = structlog.get_logger(__name__)


async def all_removed(removing: Awaitable[None], stores: Sequence[ObjectStore]) -> bool:
    """Await the removal of a batch of objects in ``stores``. False: some are left, which is logged; the sweep of a later round tries again.

    Raises:
        ObjectStoreError: a store does not work at all, so it would be in vain to go on.
    """
    try:
        await removing
    except ObjectStoreError as error:
        for store in stores:
            if await store.check() is not None:
                raise
        _log.warning("objects_left", error=str(error))
        return False
    return True
