"""A web server on loopback that does what it is told, for clients that must bear it.

A test that opens one needs ``pytest.mark.allow_hosts(["127.0.0.1"])``.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from types import TracebackType
from typing import Any, Self, cast


class Site:
    """``with Site() as site`` serves the `routes`, a function for each path.

    Attributes:
        routes: What answers a path.
        seen: The paths that were asked for, in order.
        headers: The headers of the last request.
        body: The body of the last request.
        connections: How many there were.
        over: Set when the test is; whoever keeps a client waiting waits for it.
    """

    def __init__(self) -> None:
        self.routes: dict[str, Route] = {}
        self.seen: list[str] = []
        self.headers: dict[str, str] = {}
        self.body = b""
        self.connections = 0
        self.over = threading.Event()
        self.errors: list[Exception] = []
        self._server = _Server(self)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.over.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()  # waits for the handlers
        assert self.errors == []

    def url(self, path: str, host: str = "a.test") -> str:
        return f"http://{host}:{self.port}{path}"


class Handler(BaseHTTPRequestHandler):
    """One request, which a route answers with `send`, or with its bare hands."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 10  # of a client that keeps a connection and says nothing

    @property
    def site(self) -> Site:
        return cast(_Server, self.server).site

    def setup(self) -> None:
        super().setup()
        self.site.connections += 1

    def do_GET(self) -> None:
        self.site.headers = dict(self.headers.items())
        self.site.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.site.seen.append(self.path)
        self.site.routes[self.path](self)

    do_POST = do_GET

    def send(self, content: bytes, status: int = 200, **headers: str) -> None:
        self.head(status, {"Content_Length": str(len(content))} | headers)
        self.wfile.write(content)

    def head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


Route = Callable[[Handler], None]


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # so that closing waits for them

    def __init__(self, site: Site) -> None:
        self.site = site
        super().__init__(("127.0.0.1", 0), Handler)

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # without looking up a name for the address
        self.server_name, self.server_port = "127.0.0.1", self.socket.getsockname()[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exception()
        if isinstance(error, Exception) and not isinstance(error, ConnectionError):
            self.site.errors.append(error)


def says(content: bytes, status: int = 200, **headers: str) -> Route:
    """The same answer every time."""
    return lambda handler: handler.send(content, status, **headers)


def says_json(value: object, status: int = 200) -> Route:
    return says(json.dumps(value).encode(), status, Content_Type="application/json")


def moved(location: str, status: int = 302) -> Route:
    return says(b"", status, Location=location)


def first(*routes: Route) -> Route:
    """One route after the other, the last one for good."""
    left = list(routes)
    return lambda handler: (left.pop(0) if len(left) > 1 else left[0])(handler)


def hangs(handler: Handler) -> None:
    """No answer before the test is over."""
    handler.site.over.wait()
