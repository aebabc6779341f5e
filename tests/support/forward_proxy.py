"""An HTTP proxy as companies have them, that HTTP_PROXY and HTTPS_PROXY name. It lets no WebSocket through but in a tunnel."""

from __future__ import annotations

import base64
import contextlib
import http.client
import selectors
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from urllib.parse import urlsplit

_HOP_BY_HOP = {"connection", "upgrade", "keep-alive", "proxy-authorization", "proxy-connection", "te", "trailer", "transfer-encoding"}


class ForwardProxy:
    """Serves on a loopback port while it is entered.

    Args:
        credentials: ``user:password`` that clients must show; empty: none.
    """

    def __init__(self, credentials: str = "") -> None:
        self.requests: list[str] = []
        """The request line of each request, in order."""
        proxy = self
        expected = f"Basic {base64.b64encode(credentials.encode()).decode()}" if credentials else ""

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: object) -> None:
                pass

            def _may_pass(self) -> bool:
                proxy.requests.append(self.requestline)
                if not expected or self.headers.get("Proxy-Authorization") == expected:
                    return True
                self.send_response(407)
                self.send_header("Proxy-Authenticate", 'Basic realm="proxy"')
                self.send_header("Content-Length", "0")
                self.end_headers()
                return False

            def _forward(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                if not self._may_pass():
                    return
                target = urlsplit(self.path)
                assert target.scheme == "http", self.requestline
                headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP_BY_HOP}
                upstream = http.client.HTTPConnection(target.hostname or "", target.port or 80, timeout=60)
                with contextlib.closing(upstream):
                    path = (target.path or "/") + (f"?{target.query}" if target.query else "")
                    upstream.request(self.command, path, body, headers)
                    answer = upstream.getresponse()
                    content = answer.read()
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in {*_HOP_BY_HOP, "content-length"}:
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = _forward

            def do_CONNECT(self) -> None:
                if not self._may_pass():
                    return
                host, _, port = self.path.rpartition(":")
                with socket.create_connection((host, int(port))) as upstream:
                    self.send_response(200)
                    self.end_headers()
                    _tunnel(self.connection, upstream)
                self.close_connection = True

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None:
                """A client went away: that is what clients do."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> ForwardProxy:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()


def _tunnel(one: socket.socket, other: socket.socket) -> None:
    with selectors.DefaultSelector() as selector:
        selector.register(one, selectors.EVENT_READ, other)
        selector.register(other, selectors.EVENT_READ, one)
        for source, sink in _ready(selector):
            chunk = source.recv(65536)
            if not chunk:
                return
            sink.sendall(chunk)


def _ready(selector: selectors.BaseSelector) -> Iterator[tuple[socket.socket, socket.socket]]:
    while True:
        for key, _ in selector.select():
            assert isinstance(key.fileobj, socket.socket)
            yield key.fileobj, key.data
