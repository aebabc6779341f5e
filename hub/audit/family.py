"""The family ``audit``: the log of who changed or tried what."""

from hub.family import Context, Family, Parts


def _build(context: Context) -> Parts:
    from hub.audit.build import build  # imported here: commands that only read settings do not need it

    return build(context)


family = Family("audit", _build, operations={"/audit/read": "read the audit log"})
"""Its tables are among the migrations of the family ``security``. Of the built-in roles, ``admin`` alone may read it."""
