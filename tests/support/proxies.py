"""nginx and HAProxy in front of a hub, configured word for word as docs/proxies.md shows: only addresses and files are put in."""

from __future__ import annotations

import datetime
import ipaddress
import re
import shutil
import socket
import ssl
import subprocess
import time
from pathlib import Path

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.hub_process import free_port

PAGE = Path(__file__).parents[2] / "docs" / "proxies.md"
READY_WITHIN_S = 20.0

_NGINX_MAIN = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/proxy.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/hub.conf;
}}
"""


def why_not(program: str) -> str | None:
    """None when the proxy can run here, else what is missing."""
    return None if shutil.which(program) else f"{program} is not installed: Debian's packages are nginx-light and haproxy"


def configuration(language: str, put_in: dict[str, str]) -> str:
    """The code block of the page in that language, with other addresses and files.

    Raises:
        AssertionError: there is not one such block, or it does not hold just once what is to be replaced.
    """
    (block,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    for shown, real in put_in.items():
        assert block.count(shown) == 1, f"the {language} block of {PAGE.name} should hold {shown!r} once:\n{block}"
        block = block.replace(shown, real)
    return str(block)


LOOPBACK = ipaddress.IPv4Address("127.0.0.1")


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A throw-away certificate for localhost and 127.0.0.1 that signs itself, and its key, in two PEM files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(LOOPBACK)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = folder / "localhost.crt", folder / "localhost.key"
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )
    return certificate_file, key_file


_PLAIN = """
server {{
    listen 127.0.0.1:{port};
    location {path} {{
        proxy_pass http://127.0.0.1:{hub_port}/;
    }}
}}
"""


class PlainProxy:
    """An nginx with nothing but ``proxy_pass``: it speaks HTTP/1.0 to the hub, and drops ``Upgrade``."""

    def __init__(self, folder: Path, hub_port: int, path: str = "/") -> None:
        self._port = free_port()
        (folder / "hub.conf").write_text(_PLAIN.format(port=self._port, path=path, hub_port=hub_port))
        main = folder / "nginx.conf"
        main.write_text(_NGINX_MAIN.format(folder=folder))
        self._command = ["nginx", "-p", str(folder), "-e", "stderr", "-c", str(main)]
        self._out = folder / "proxy.out"

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> PlainProxy:
        with self._out.open("wb") as out:
            self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
        end = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < end and self._process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self._port)).close()
            except OSError:
                time.sleep(0.02)
            else:
                return self
        self.__exit__()
        raise RuntimeError(f"nginx was not ready:\n{self._out.read_text(errors='replace')}")

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(10)


class ReverseProxy:
    """One proxy in the foreground on a loopback port, with TLS, in front of the hub on another port."""

    def __init__(self, program: str, folder: Path, hub_port: int) -> None:
        self._folder = folder
        self.port = free_port()
        self.certificate, key = make_certificate(folder)
        if program == "nginx":
            command = self._nginx(hub_port, key)
        else:
            command = self._haproxy(hub_port, key)
        with (folder / "proxy.out").open("wb") as out:
            self._process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
        try:
            self._wait_ready()
        except BaseException:
            self.close()
            raise

    def _nginx(self, hub_port: int, key: Path) -> list[str]:
        put_in = {
            "127.0.0.1:8080": f"127.0.0.1:{hub_port}",
            "listen 443": f"listen 127.0.0.1:{self.port}",
            "server_name hub.example.com": "server_name localhost",
            "/etc/ssl/hub.example.com.crt": str(self.certificate),
            "/etc/ssl/hub.example.com.key": str(key),
        }
        (self._folder / "hub.conf").write_text(configuration("nginx", put_in))
        main = self._folder / "nginx.conf"
        main.write_text(_NGINX_MAIN.format(folder=self._folder))
        return ["nginx", "-p", str(self._folder), "-e", "stderr", "-c", str(main)]

    def _haproxy(self, hub_port: int, key: Path) -> list[str]:
        both = self._folder / "localhost.pem"
        both.write_bytes(self.certificate.read_bytes() + key.read_bytes())
        put_in = {
            "127.0.0.1:8080": f"127.0.0.1:{hub_port}",
            "bind :443": f"bind 127.0.0.1:{self.port}",
            "/etc/haproxy/hub.example.com.pem": str(both),
            "maxconn 200000": "maxconn 1000",  # what the test's machine lets one process open
        }
        main = self._folder / "haproxy.cfg"
        main.write_text(configuration("haproxy", put_in))
        return ["haproxy", "-db", "-f", str(main)]

    @property
    def url(self) -> str:
        """The base URL of the hub behind the proxy."""
        return f"https://localhost:{self.port}"

    @property
    def trust(self) -> ssl.SSLContext:
        """A TLS context for clients of this process that trusts the throw-away certificate."""
        return ssl.create_default_context(cafile=str(self.certificate))

    @property
    def environment(self) -> dict[str, str]:
        """Variables that make client processes, of Node.js and of Python, trust it."""
        return {"NODE_EXTRA_CA_CERTS": str(self.certificate), "SSL_CERT_FILE": str(self.certificate)}

    def http(self) -> httpx.Client:
        """An HTTP client of the hub through the proxy, with a cookie jar of its own."""
        return httpx.Client(base_url=self.url, verify=self.trust, timeout=20)

    def _wait_ready(self) -> None:
        end = time.monotonic() + READY_WITHIN_S
        with self.http() as http:
            while time.monotonic() < end and self._process.poll() is None:
                try:
                    if http.get("/livez").status_code == httpx.codes.OK:
                        return
                except httpx.TransportError:
                    pass  # not listening yet
                time.sleep(0.05)
        raise RuntimeError(f"the proxy was not ready within {READY_WITHIN_S:.0f} s:\n{self.log()}")

    def log(self) -> str:
        """What the proxy printed and logged."""
        files = [self._folder / name for name in ("proxy.out", "proxy.log")]
        return "\n".join(file.read_text(errors="replace") for file in files if file.exists())

    def close(self) -> None:
        """End the process."""
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
