"""The names that Amazon's clients know things by (docs/protocol/files.md#arns)."""

from __future__ import annotations

import re
from typing import Final

from channels.files.errors import UnknownInstance
from hub.core.field_error import FieldError
from hub.core.json_text import show
from hub.core.principal import Principal
from hub.objects.instances import instance_id, is_tenant

MAX_ARN: Final = 500
"""Characters of an ARN that a client writes."""

_PARTS: Final = 6
_CONTACT: Final = re.compile(r"instance/([^/]{1,100})/contact/([A-Za-z0-9][A-Za-z0-9._~-]{0,127})", re.ASCII)
_AGENT: Final = re.compile(r"arn:[^:]*:connect:[^:]*:[^:]*:instance/[^/]+/agent/(.+)", re.DOTALL)
_OF_ACCESS_KEY: Final = "aws:"
"""Begins the ids of credentials that are access keys."""


def check_arn(field: str, arn: str) -> str:
    """Check an ARN that a client writes; ``field`` is what the error calls it.

    Raises:
        FieldError: it is none.
    """
    if len(arn) > MAX_ARN:
        raise FieldError(field, f"at most {MAX_ARN} characters", str(len(arn)))
    if not arn.startswith("arn:") or len(arn.split(":", _PARTS - 1)) < _PARTS:
        raise FieldError(field, "an ARN such as arn:aws:cases:us-east-1:000000000000:domain/hub/case/4711", show(arn))
    return arn


def check_instance(named: str, tenant: str) -> None:
    """Check that an instance is the caller's tenant; nothing is told of others.

    Raises:
        UnknownInstance: it is not.
    """
    if not is_tenant(named, tenant):
        raise UnknownInstance(f"InstanceId: expected an instance that this credential belongs to, got {show(named)}")


def contact_of(arn: str, tenant: str) -> str | None:
    """The interaction of the hub that the ARN of a resource names; None: it names something else, which the hub does not know."""
    parts = arn.split(":", _PARTS - 1)
    found = _CONTACT.fullmatch(parts[-1])
    return found[2] if found is not None and parts[2] == "connect" and is_tenant(found[1], tenant) else None


def agent_of(arn: str) -> str | None:
    """The id of the agent whom an ARN names; None: it names something else."""
    found = _AGENT.fullmatch(arn)
    return None if found is None else found[1]


class Arns:
    """Makes the ARNs of a hub."""

    __slots__ = ("account", "region")

    def __init__(self, region: str, account: str) -> None:
        self.region = region
        self.account = account

    def instance(self, tenant: str) -> str:
        """The ARN of a tenant."""
        return f"arn:aws:connect:{self.region}:{self.account}:instance/{instance_id(tenant)}"

    def file(self, tenant: str, identifier: str) -> str:
        """The ARN of a file."""
        return f"{self.instance(tenant)}/file/{identifier}"

    def contact(self, tenant: str, interaction_id: str) -> str:
        """The ARN of a contact: an interaction of the hub."""
        return f"{self.instance(tenant)}/contact/{interaction_id}"

    def caller(self, caller: Principal) -> str:
        """The ARN of who calls: an access key by its id, which is what Amazon's clients know of themselves, else the subject."""
        known = caller.credential.startswith(_OF_ACCESS_KEY)
        return f"arn:aws:iam::{self.account}:user/{caller.credential.removeprefix(_OF_ACCESS_KEY) if known else caller.subject}"
