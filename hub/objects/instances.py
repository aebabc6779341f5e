"""The id that a tenant has in APIs which name tenants by an id of their own: Amazon's instances, Alvaria's organisations."""

from __future__ import annotations

import uuid
from functools import lru_cache


@lru_cache(maxsize=1024)
def instance_id(tenant: str) -> str:
    """The id of a tenant, a UUID that follows from its name (docs/protocol/files.md#ids-of-tenants)."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"urn:cx-event-hub:tenant:{tenant}"))


def is_tenant(named: str, tenant: str) -> bool:
    """Whether what a client wrote names this tenant: by its name, or by its id in any case of letters."""
    return named == tenant or named.lower() == instance_id(tenant)
