"""The settings of deploy/ are the hub's, as it reads them."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from channels.families import FAMILIES
from hub.ops.settings import Settings, load
from tests.deploy.test_deploy import SECRETS, compose_services, resource

BESIDES_DRAIN_S = 5
"""How long a hub may take to end after its clients were sent away."""


def read_settings(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, folder: Path) -> Settings:
    """The settings as ``hub serve`` reads them in this environment."""
    for name in [name for name in os.environ if name.startswith("HUB_")]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(folder)  # where no hub.toml lies
    return load(FAMILIES, config=None, flags={})


@pytest.mark.parametrize("name", ["hub1", "hub2", "hub3"])
def test_the_settings_of_compose_are_the_hubs(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    services = compose_services()
    settings = read_settings(services[name]["environment"], monkeypatch, tmp_path)
    assert settings.redis_url is not None
    assert settings.database.startswith("postgresql")
    assert settings.link_url == f"ws://{name}:8081"
    assert f"media:{media_dir(settings)}" in services[name]["volumes"]
    # the balancer alone is believed
    assert [str(network) for network in settings.trusted_proxies] == [f"{services['nginx']['networks']['hub']['ipv4_address']}/32"]
    assert seconds(services[name]["stop_grace_period"]) >= settings.drain_seconds + BESIDES_DRAIN_S


@pytest.mark.parametrize(("pod_ip", "host"), [("10.1.2.3", "10.1.2.3"), ("fd00::3", "[fd00::3]")])
def test_the_settings_of_kubernetes_are_the_hubs(pod_ip: str, host: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pod = resource("Deployment", "hub")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    said = {"database-url": "postgresql://hub@postgres/hub", "secret": SECRETS["HUB_SECRET"]}
    environment = {}
    for variable in container["env"]:
        source = variable.get("valueFrom", {})
        if "fieldRef" in source:
            value = pod_ip
        elif "secretKeyRef" in source:
            value = said[source["secretKeyRef"]["key"]]
        else:
            value = re.sub(r"\$\((\w+)\)", lambda found: environment[found[1]], variable["value"])
        environment[variable["name"]] = value
    settings = read_settings({name: value for name, value in environment.items() if name.startswith("HUB_")}, monkeypatch, tmp_path)
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert (settings.port, settings.metrics_port) == (ports["http"], ports["metrics"])
    assert settings.link_url == f"ws://{host}:{ports['link']}"
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    (volume,) = (each for each in pod["volumes"] if each["name"] == mounts[media_dir(settings)])
    claim = resource("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"])
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]  # each pod finds what another has written
    assert str(settings.link_listen).endswith(f":{ports['link']}")
    (sleep, before) = container["lifecycle"]["preStop"]["exec"]["command"]
    assert sleep == "sleep"
    assert pod["terminationGracePeriodSeconds"] >= int(before) + settings.drain_seconds + BESIDES_DRAIN_S


def media_dir(settings: Settings) -> str:
    """The folder of media, which all hubs must share."""
    return str(settings.messaging.media_dir)  # type: ignore[attr-defined]  # the section of a family


def seconds(text: str) -> int:
    """``40s``."""
    assert text.endswith("s")
    return int(text.removesuffix("s"))
