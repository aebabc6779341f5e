"""What may be allowed in the whole product."""

from typing import Final

from channels.families import FAMILIES
from hub.families import access_of
from hub.security.access import Access

ACCESS: Final[Access] = access_of(FAMILIES)
ROLES: Final = ACCESS.roles
OPERATIONS: Final = ACCESS.operations
