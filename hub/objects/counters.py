"""What is counted of the transfers of files."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class ObjectCounters:
    """Counters of ``/metrics``; each field becomes ``hub_objects_<field>_total``."""

    uploaded: int = 0
    """Files that were uploaded by links."""
    downloaded: int = 0
    """Files, or parts of them, that were downloaded by links."""
    bytes_in: int = 0
    """Bytes of uploaded files."""
    bytes_out: int = 0
    """Bytes of downloaded files."""
    refused: int = 0
    """Requests whose link was malformed, expired or not made by this hub."""
    refused_busy: int = 0
    """Requests that came while too many transfers were under way."""
    refused_address: int = 0
    """Requests beyond what one address may have under way."""
    refused_link: int = 0
    """Requests for one file beyond what may be under way."""
    too_slow: int = 0
    """Transfers that were ended because they were slower than `objects.min_bytes_per_s`."""
    broken: int = 0
    """Transfers that a client broke off, or let stand still."""
    failed: int = 0
    """Transfers that the store did not take or give."""
