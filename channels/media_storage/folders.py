"""The folders that every tenant has, and the OAuth scopes that cover them (docs/protocol/media-storage.md#folders)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

EXPORTS: Final = "exports"
"""What the hub exports for the tenant."""

IMPORTS: Final = "imports"
"""The mailbox of the tenant: what is uploaded here is told to its systems."""

SCOPES_OF: Final = "mediastorageapi"
"""The names of all scopes begin so."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder that every tenant has, also while it is empty."""

    path: str
    """Without a slash at its end."""
    scope: str | None
    """The scope that covers it and all below it; None: that of the folder above."""
    since: int = 2
    """The version of the API that shows it while it is empty."""


_TREE: Final[Sequence[tuple[str, str | None, int]]] = (
    ("exports", "exports", 2),
    ("exports/aps-custom", "aps-custom", 2),
    ("exports/compliance", "compliance", 2),
    ("exports/compliance/audit", "audit", 2),
    ("exports/configuration", "configuration", 2),
    ("exports/configuration/campaign", "campaign", 2),
    ("exports/configuration/interaction-management", "interaction", 2),
    ("exports/cxp", "cxp", 2),
    ("exports/cxp/callsre", "callsre", 2),
    ("exports/cxp/recordings", "recordings", 2),
    ("exports/cxp/utterances", "utterances", 2),
    ("exports/motivate", None, 2),
    ("exports/motivate/kpi", None, 2),
    ("exports/motivate/kpi/errors", None, 2),
    ("exports/motivate/kpi/processed", None, 2),
    ("exports/outreach", "outreach", 2),
    ("exports/outreach/list-management", "list", 2),
    ("exports/reporting", "reporting", 2),
    ("exports/reporting-archive", None, 2),
    ("exports/reporting-archive/enterprise-historical", None, 2),
    ("exports/reporting-archive/intraday", None, 2),
    ("exports/reporting-archive/outreach", None, 2),
    ("exports/reporting/enterprise-historical", "historical", 2),
    ("exports/reporting/intraday", None, 2),
    ("exports/reporting/outreach", "outreach", 2),
    ("exports/workflow", "workflow", 3),
    ("exports/workforce", "workforce", 3),
    ("imports", "imports", 2),
    ("imports/apm", "apm", 2),
    ("imports/apm/aom", "aom", 2),
    ("imports/apm/ecf", "ecf", 2),
    ("imports/apm/ecf/errors", "errors", 2),
    ("imports/apm/ecf/processed", "processed", 2),
    ("imports/aps-custom", "aps-custom", 2),
    ("imports/configuration", "configuration", 2),
    ("imports/configuration/campaign", "campaign", 2),
    ("imports/configuration/interaction-management", "interaction", 2),
    ("imports/motivate", "motivate", 2),
    ("imports/motivate/kpi", "kpi", 3),
    ("imports/motivate/kpi/errors", "errors", 3),
    ("imports/motivate/kpi/processed", "processed", 3),
    ("imports/outreach", "outreach", 2),
    ("imports/outreach/exclusions", "exclusions", 2),
    ("imports/outreach/list-management", "list", 2),
    ("imports/outreach/nanp", "nanp", 2),
    ("imports/workflow", "workflow", 3),
    ("imports/workforce", "workforce", 3),
)
"""Path, the last word of its scope, and the version of the API. A scope has the words of the folders above it before its own."""


def _made() -> Iterator[Folder]:
    scopes: dict[str, str] = {"": SCOPES_OF}
    for path, word, since in _TREE:
        above = path.rpartition("/")[0]
        scope = None if word is None else f"{scopes[above]}.{word}"
        if scope is not None:
            scopes[path] = scope
        yield Folder(path, scope, since)


FOLDERS: Final[Mapping[str, Folder]] = {each.path: each for each in _made()}
"""Every known folder, by its path; the order is that of listings."""

TOPS: Final = (EXPORTS, IMPORTS)
