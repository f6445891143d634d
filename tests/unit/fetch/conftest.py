"""A loopback HTTP server that does to order what servers do wrong, and counts what it sends."""

from __future__ import annotations

import hashlib
import re
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

Reply = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Answers by the route of its path."""

    protocol_version = "HTTP/1.1"
    server: Server  # type: ignore[assignment]

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        with self.server.lock:
            self.server.asked[path].append(dict(self.headers))
            self.number = len(self.server.asked[path])
        reply = self.server.routes.get(path)
        if reply is None:
            self.plain(404, b"no such thing")
        else:
            reply(self)

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None: ...

    def plain(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.body(body)

    def body(self, data: bytes, block: int = 1 << 16, pause: float = 0.0) -> None:
        """Send bytes, counted."""
        if self.command == "HEAD":
            return
        path = self.path.split("?")[0]
        try:
            for start in range(0, len(data), block):
                piece = data[start : start + block]
                self.wfile.write(piece)
                with self.server.lock:
                    self.server.sent[path] += len(piece)
                    self.server.sent_in[path, self.number] += len(piece)
                if pause:
                    time.sleep(pause)
        except OSError:
            self.close_connection = True

    def hang_up(self) -> None:
        """Drop the connection at once."""
        self.close_connection = True
        try:
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    @property
    def start(self) -> int:
        """The first byte asked for."""
        found = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
        return int(found[1]) if found else 0


class Server(ThreadingHTTPServer):
    """Routes by path; counts of requests, and of body bytes by path and by (path, number of the request)."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.routes: dict[str, Reply] = {}
        self.asked: dict[str, list[dict[str, str]]] = defaultdict(list)
        self.sent: dict[str, int] = defaultdict(int)
        self.sent_in: dict[tuple[str, int], int] = defaultdict(int)
        self.lock = threading.Lock()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}{path}"

    def handle_error(self, request: object, client_address: object) -> None: ...

    def file(self, path: str, data: bytes, **more: object) -> str:
        """Serve a file as a good server does (ranges, ETag), with deviations; gives its address.

        Deviations: `drop` (bytes after which the connection ends, or a function of the number of the request), `ranges`
        (False: ignored), `etag` (None: none; a function of the number of the request), `kind` (content type), `length`
        (what is stated instead of the truth), `pause` (seconds after each `block`).
        """
        self.routes[path] = lambda handler: _serve(handler, data, **more)  # type: ignore[arg-type]
        return self.url(path)


def _serve(
    handler: Handler,
    data: bytes,
    drop: int | Callable[[int], int | None] | None = None,
    ranges: bool = True,
    etag: str | Callable[[int], str] | None = "",
    kind: str = "application/octet-stream",
    length: int | None = None,
    pause: float = 0.0,
    block: int = 1 << 16,
    modified: str = "",
) -> None:
    tag = etag(handler.number) if callable(etag) else etag
    if tag == "":
        tag = f'"{hashlib.sha256(data).hexdigest()[:16]}"'
    start = handler.start if ranges else 0
    condition = handler.headers.get("If-Range")
    if condition is not None and condition not in (tag, modified):
        start = 0
    if start >= len(data) > 0 and start:
        handler.plain(416, b"", Content_Range=f"bytes */{len(data)}")
        return
    rest = data[start:]
    handler.send_response(206 if start else 200)
    if start:
        handler.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
    if tag:
        handler.send_header("ETag", tag)
    if modified:
        handler.send_header("Last-Modified", modified)
    handler.send_header("Content-Type", kind)
    handler.send_header("Content-Length", str(len(rest) if length is None else length))
    handler.end_headers()
    cut = drop(handler.number) if callable(drop) else drop
    handler.body(rest if cut is None else rest[:cut], block, pause)
    if (cut is not None and cut < len(rest)) or (length is not None and length != len(rest)):
        handler.hang_up()


@pytest.fixture
def server() -> Iterator[Server]:
    """A server on the loopback address."""
    running = Server()
    thread = threading.Thread(target=lambda: running.serve_forever(poll_interval=0.01), daemon=True)
    thread.start()
    yield running
    running.shutdown()
    running.server_close()
    thread.join()
