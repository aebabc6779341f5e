"""The check of ``hub doctor`` for webhooks: it finds secrets that earlier versions accepted and libraries of Standard Webhooks do not."""

from __future__ import annotations

import json
from collections.abc import Iterator

from hub.doctor.inspection import Finding, Inspection, Level
from hub.outbox.models import Secret
from hub.outbox.sign import ROTATE, unfit_secrets


def webhook_secrets(inspection: Inspection) -> Iterator[Finding]:
    """Check the secrets. The findings name endpoints and messaging channels, and never show a secret."""
    path = inspection.database_path
    if path is not None and not path.exists():
        return
    found = inspection.rows("SELECT id, tenant, owner, description, secrets FROM endpoints ORDER BY tenant, id")
    odd = False
    for identifier, tenant, owner, description, secrets in found:
        if unfit_secrets((Secret(*each) for each in json.loads(secrets)), inspection.now_ms):
            odd = True
            what = f"{description} ({identifier})" if owner else f"endpoint {identifier}"
            message = (
                f"{what} of tenant {tenant} has a secret that begins with whsec_ and is not base64 of 24 to 64 bytes: "
                "libraries of Standard Webhooks do not verify what it signs"
            )
            yield Finding(Level.WARNING, "webhook secrets", message, ROTATE)
    if not odd:
        yield Finding(Level.OK, "webhook secrets", f"{len(found)} endpoints, each with secrets that libraries verify")
