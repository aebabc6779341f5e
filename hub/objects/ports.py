"""What the store offers to families, and what families offer to it."""

from __future__ import annotations

from typing import Final

from hub.objects.exports import ExportFolder
from hub.objects.links import FileLinks
from hub.objects.store import ObjectStore
from hub.offers import Port

OBJECT_STORE: Final[Port[ObjectStore]] = Port("object store")
FILE_LINKS: Final[Port[FileLinks]] = Port("links to files")
EXPORT_FOLDERS: Final[Port[ExportFolder]] = Port("folders of exports")
