"""What the audit log offers to other families."""

from typing import Final

from hub.audit.log import AuditLog
from hub.offers import Port

AUDIT: Final[Port[AuditLog]] = Port("audit")
"""The audit log of this process. A family writes in it whatever it changes of who may do what."""
