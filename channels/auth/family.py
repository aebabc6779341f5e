"""The family ``auth``: its name and its settings, for the list of families in :mod:`channels.families`."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from channels.auth.settings import AuthSettings
from hub.family import Context, Family, Parts, ProcessRole

if TYPE_CHECKING:
    from hub.doctor.inspection import Finding, Inspection


def _build(context: Context) -> Parts:
    from channels.auth.build import build  # commands that read settings alone need none of this

    return build(context)


def external_issuers(inspection: "Inspection") -> "Iterable[Finding]":
    """Check the external issuers."""
    from hub.security.issuers.check import examine_issuers  # commands that read settings alone need none of this

    settings: AuthSettings = inspection.settings.auth  # type: ignore[attr-defined]
    return examine_issuers(inspection, settings.issuers, settings.issuer_networks)


family = Family("auth", _build, settings=AuthSettings, checks=(external_issuers,), runs_in=frozenset({ProcessRole.EDGE}))
