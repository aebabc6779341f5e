"""The proxies whose information about the client's address is trusted."""

from __future__ import annotations

import os
from ipaddress import ip_network

import structlog

from hub.ops.settings import Settings, SettingsError
from hub.security.connections import Network

_log = structlog.get_logger(__name__)


def trusted_proxies(settings: Settings) -> tuple[Network, ...]:
    """The trusted proxies: the setting ``trusted_proxies``; if it is not set, the older environment variable ``FORWARDED_ALLOW_IPS``.

    Raises:
        SettingsError: ``FORWARDED_ALLOW_IPS`` contains something that is neither an address nor a network.
    """
    older = os.environ.get("FORWARDED_ALLOW_IPS")
    if older is None:
        return settings.trusted_proxies
    if "trusted_proxies" in settings.model_fields_set:
        _log.warning("forwarded_allow_ips_ignored", setting="trusted_proxies")
        return settings.trusted_proxies
    _log.warning("forwarded_allow_ips_is_old", setting="trusted_proxies", value=older)
    try:
        return tuple(ip_network(each.strip()) for each in older.replace("*", "0.0.0.0/0,::/0").split(",") if each.strip())
    except ValueError as fault:
        raise SettingsError([f"FORWARDED_ALLOW_IPS: expected addresses and networks, got {older!r}: {fault}"]) from None
