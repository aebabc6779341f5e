"""What the settings say about links: where this node takes them, how others reach it, and what is wrong with that."""

from __future__ import annotations

from hub.cluster.link.address import LinkAddress, parse_listen, parse_url
from hub.cluster.link.certificates import certificate_problems
from hub.ops.settings import Settings
from hub.workers.seat import Seat


def listen_address(settings: Settings, seat: Seat | None = None) -> LinkAddress | None:
    """Where this node takes links; None: nowhere. Each of several workers, and its successor, has a port or a Unix socket of its own
    (docs/scaling.md#nodes-and-links).
    """
    if settings.link_listen is None:
        return None if seat is None else LinkAddress(path=str(seat.run_folder / f"link.{_suffix(seat)}"))
    address = _of_seat(parse_listen(settings.link_listen), seat)
    return address if address.path else address._replace(tls=settings.link_tls_cert is not None)


def url_of(settings: Settings, address: LinkAddress | None, seat: Seat | None = None) -> str:
    """How other nodes reach this one, which listens on ``address``; empty: not at all."""
    if address is None:
        return ""
    return address.url if settings.link_url is None else _of_seat(parse_url(settings.link_url), seat).url


def _of_seat(address: LinkAddress, seat: Seat | None) -> LinkAddress:
    if seat is None:
        return address
    if address.path:
        return address._replace(path=f"{address.path}.{_suffix(seat)}")
    return address._replace(port=address.port + 2 * seat.index + seat.life % 2)


def _suffix(seat: Seat) -> str:
    return f"{seat.index}.{seat.life}"


def link_problems(settings: Settings) -> list[str]:
    """What is wrong with the settings of links; empty: nothing."""
    address = listen_address(settings)
    if address is None:
        return [
            f"{name}: expected link_listen beside it, got none"
            for name in ("link_url", "link_tls_cert", "link_tls_key")
            if getattr(settings, name) is not None
        ]
    problems = []
    if settings.redis_url is None:
        problems.append("link_listen: expected redis_url beside it, by which the nodes of a hub find each other, got none")
    public = {"port": settings.port, "metrics_port": settings.metrics_port}
    for name, port in public.items():
        if port and port == address.port:
            problems.append(f"link_listen: expected a port that clients do not reach, got {port}, which is {name}")
    if settings.link_url is None and (address.everywhere or (not address.path and not address.port)):
        problems.append(
            "link_url: expected the URL by which other nodes reach this one, such as ws://10.0.0.5:9080, since link_listen "
            f"({settings.link_listen}) does not say it, got none"
        )
    if settings.link_url is not None:
        problems += _contradictions(address, parse_url(settings.link_url))
    if settings.link_tls_key is not None and settings.link_tls_cert is None:
        problems.append("link_tls_key: expected link_tls_cert beside it, got none")
    if address.path and settings.link_tls_cert is not None:
        problems.append("link_tls_cert: expected none for a Unix socket, which leaves no machine, got one")
    if not problems:  # else the files may be named where none is wanted
        problems = certificate_problems(settings.link_tls_cert, settings.link_tls_key, settings.link_tls_ca)
    cluster = settings.cluster
    if cluster.lapse_s < 4 * cluster.beat_s:
        problems.append(f"cluster.lapse_s: expected at least four times beat_s ({cluster.beat_s:g}), got {cluster.lapse_s:g}")
    if cluster.dead_s <= cluster.ping_s:
        problems.append(f"cluster.dead_s: expected more than ping_s ({cluster.ping_s:g}), got {cluster.dead_s:g}")
    return problems


def _contradictions(address: LinkAddress, url: LinkAddress) -> list[str]:
    problems = []
    if bool(address.path) != bool(url.path):
        problems.append(f"link_url: expected a {'Unix socket' if address.path else 'port'}, as link_listen is, got {url.url}")
    elif address.path != url.path:
        problems.append(f"link_url: expected the Unix socket of link_listen, {address.url}, got {url.url}")
    if url.everywhere:
        problems.append(f"link_url: expected an address that leads to this node alone, got {url.host}")
    return problems
