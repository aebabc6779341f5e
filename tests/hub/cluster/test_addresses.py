"""What the settings say about links, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hub.cluster.addresses import link_problems, listen_address, url_of
from hub.cluster.link.address import LinkAddress, parse_listen, parse_url
from hub.ops.settings import Settings
from hub.workers.seat import Seat
from tests.support.proxies import make_certificate

REDIS = {"redis_url": "redis://localhost", "secret": "at least sixteen characters"}


def url(**changes: Any) -> str:
    settings = Settings(**REDIS, **changes)
    return url_of(settings, listen_address(settings))


def problems(**changes: Any) -> list[str]:
    return [problem.split(":")[0] for problem in link_problems(Settings(**{**REDIS, **changes}))]


def seat(index: int, life: int) -> Seat:
    return Seat(index=index, count=4, life=life, listener=-1, metrics_listener=None, line=-1, folder="/run/hub")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("10.0.0.5:9080", LinkAddress("10.0.0.5", 9080)),
        ("[::1]:9080", LinkAddress("::1", 9080)),
        ("fd00::1:9080", LinkAddress("fd00::1", 9080)),
        (":::9080", LinkAddress("::", 9080)),
        ("node-1.example.com:9080", LinkAddress("node-1.example.com", 9080)),
        ("unix:/run/hub/link.sock", LinkAddress(path="/run/hub/link.sock")),
    ],
)
def test_where_links_are_taken(text: str, address: LinkAddress) -> None:
    assert parse_listen(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "10.0.0.5",
        ":9080",
        "10.0.0.5:x",
        "10.0.0.5:99999",
        "ws://10.0.0.5:9080",
        "a@b:1",
        "unix:link.sock",
        "fd00::1",
        "fd00:0:0:0:0:0:0:1",
    ],
)
def test_what_is_no_such_place_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        parse_listen(text)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("ws://10.0.0.5:9080", LinkAddress("10.0.0.5", 9080)),
        ("wss://[::1]:9080/", LinkAddress("::1", 9080, tls=True)),
        ("ws://fd00::1:9080", LinkAddress("fd00::1", 9080)),  # $(POD_IP):9080 of Kubernetes
        ("unix:/run/hub/link.sock", LinkAddress(path="/run/hub/link.sock")),
    ],
)
def test_how_a_node_is_reached(text: str, address: LinkAddress) -> None:
    assert parse_url(text) == address
    assert parse_url(address.url) == address


@pytest.mark.parametrize("text", ["10.0.0.5:9080", "http://10.0.0.5:9080", "ws://10.0.0.5", "ws://h:1/path", "ws://h:1?x", "unix:x"])
def test_what_reaches_no_node_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        parse_url(text)


def test_a_path_that_no_socket_can_have_is_refused() -> None:
    with pytest.raises(ValueError, match="at most 107 bytes"):
        parse_listen("unix:/" + "x" * 107)


def test_without_link_url_it_is_what_link_listen_says() -> None:
    assert url() == ""
    assert url(link_listen="10.0.0.5:9080") == "ws://10.0.0.5:9080"
    assert url(link_listen="10.0.0.5:9080", link_tls_cert="c.pem") == "wss://10.0.0.5:9080"
    assert url(link_listen="unix:/run/l") == "unix:/run/l"
    assert url(link_listen="0.0.0.0:9080", link_url="wss://node-1:443") == "wss://node-1:443"


def test_workers_and_their_successors_have_places_of_their_own() -> None:
    alone = Settings(**REDIS)
    port = Settings(**REDIS, link_listen="0.0.0.0:9080", link_url="ws://10.0.0.5:9080")
    path = Settings(**REDIS, link_listen="unix:/run/l")
    places = [(index, life) for index in range(4) for life in (1, 2)]
    for settings in (alone, port, path):
        found = [listen_address(settings, seat(*place)) for place in places]
        assert len(set(found)) == len(places)
        urls = [url_of(settings, address, seat(*place)) for address, place in zip(found, places, strict=True)]
        assert len(set(urls)) == len(places)
    assert listen_address(alone, seat(1, 2)) == LinkAddress(path="/run/hub/link.1.2")
    assert {listen_address(port, seat(*place)).port for place in places} == set(range(9080, 9088))  # type: ignore[union-attr]
    assert url_of(port, listen_address(port, seat(1, 1)), seat(1, 1)) == "ws://10.0.0.5:9083"


@pytest.mark.parametrize(
    ("changes", "keys"),
    [
        ({}, []),
        ({"link_listen": "10.0.0.5:9080"}, []),
        ({"link_listen": "unix:/run/l"}, []),
        ({"link_listen": "0.0.0.0:9080", "link_url": "ws://10.0.0.5:9080"}, []),
        ({"link_listen": "10.0.0.5:9080", "redis_url": None}, ["link_listen"]),
        ({"link_listen": "10.0.0.5:8080"}, ["link_listen"]),
        ({"link_listen": "10.0.0.5:9100", "metrics_port": 9100}, ["link_listen"]),
        ({"link_listen": "0.0.0.0:9080"}, ["link_url"]),
        ({"link_listen": "[::]:9080"}, ["link_url"]),
        ({"link_listen": "10.0.0.5:0"}, ["link_url"]),
        ({"link_listen": "10.0.0.5:9080", "link_url": "unix:/run/l"}, ["link_url"]),
        ({"link_listen": "unix:/run/l", "link_url": "ws://h:1"}, ["link_url"]),
        ({"link_listen": "unix:/run/l", "link_url": "unix:/run/m"}, ["link_url"]),
        ({"link_listen": "0.0.0.0:9080", "link_url": "ws://0.0.0.0:9080"}, ["link_url"]),
        ({"link_url": "ws://h:1"}, ["link_url"]),
        ({"link_tls_cert": "c.pem"}, ["link_tls_cert"]),
        ({"link_listen": "10.0.0.5:9080", "link_tls_key": "k.pem"}, ["link_tls_key"]),
        ({"link_listen": "unix:/run/l", "link_tls_cert": "c.pem"}, ["link_tls_cert"]),
        ({"link_listen": "unix:/run/l", "cluster": {"beat_s": 2, "lapse_s": 5}}, ["cluster.lapse_s"]),
        ({"link_listen": "unix:/run/l", "cluster": {"ping_s": 3}}, ["cluster.dead_s"]),
    ],
)
def test_settings_that_do_not_fit_are_refused_by_name(changes: dict[str, Any], keys: list[str]) -> None:
    assert problems(**changes) == keys


def test_certificates_that_cannot_be_used_are_refused_with_the_file(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    good = {"link_listen": "10.0.0.5:9080", "link_tls_cert": certificate, "link_tls_key": key, "link_tls_ca": certificate}
    assert problems(**good) == []
    none, wrong = tmp_path / "none.pem", tmp_path / "wrong.pem"
    wrong.write_text("no certificate")
    for name in ("link_tls_cert", "link_tls_key", "link_tls_ca"):
        (problem,) = link_problems(Settings(**REDIS, **(good | {name: none})))
        assert problem == f"{name}: expected a file (PEM) that this user can read, got {none}"
    (problem,) = link_problems(Settings(**REDIS, **(good | {"link_tls_cert": wrong})))
    assert problem.startswith(f"link_tls_cert: expected a certificate (PEM) with its key, got {wrong}: ")
    (problem,) = link_problems(Settings(**REDIS, **(good | {"link_tls_ca": wrong})))
    assert problem.startswith(f"link_tls_ca: expected certificates (PEM), got {wrong}: ")
