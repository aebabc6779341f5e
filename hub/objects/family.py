"""The family ``objects``: the store of files, and signed links to them."""

from collections.abc import Iterable

from hub.doctor.inspection import Finding, Inspection
from hub.family import Context, Family, Parts


def _build(context: Context) -> Parts:
    from hub.objects.build import build  # imported here: commands that only read settings do not need it

    return build(context)


def object_store(inspection: Inspection) -> Iterable[Finding]:
    """See :func:`hub.objects.doctor.object_store`."""
    from hub.objects.doctor import object_store as examine  # likewise: it makes requests

    return examine(inspection)


family = Family("objects", _build, checks=(object_store,))
