"""A local HTTP server of one file that misbehaves as it is told to."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FileServer(ThreadingHTTPServer):
    """Serves ``content`` at every address.

    ``ranges``: whether it can begin in the middle; ``etag``: the version that it names, if any, in the header
    ``version_header``; ``drops``: after
    how many bytes the coming replies break off (then replies are whole); ``stall``: a reply that breaks off keeps
    the connection open; ``statuses``: of the coming replies; ``pages``: what else is served, by a part of the
    address; ``headers``: more of them; ``stat``: what Google's cloud says of the file. It notes in
    ``ranges_asked`` where each reply was to begin, and in ``served`` the bytes sent.
    """

    daemon_threads = True

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content, self.etag = content, '"v1"'
        self.version_header = "ETag"
        self.ranges, self.honours_if_range, self.stall = True, True, False
        self.kind = "application/octet-stream"
        self.pages: dict[str, bytes] = {}
        self.headers: dict[str, str] = {}
        self.stat = b""
        self.drops: list[int] = []
        self.statuses: list[int] = []
        self.ranges_asked: list[int] = []
        self.paths: list[str] = []
        self.served = 0
        self.stalled, self.go_on = threading.Event(), threading.Event()

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def url(self) -> str:
        return f"{self.root}/files/prior.pt"


class _Handler(BaseHTTPRequestHandler):
    server: FileServer  # pyright: ignore[reportIncompatibleVariableOverride]

    def log_message(self, format: str, *args: object) -> None:
        """Not a word on the console."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        server = self.server
        server.paths.append(self.path)
        pages = dict(server.pages)
        if server.stat and "alt=media" not in self.path:
            pages["/storage/v1/b/"] = server.stat
        for part, page in pages.items():
            if part in self.path:
                self.send_response(200)
                self.end_headers()
                self.wfile.write(page)
                return
        match = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        start = int(match[1]) if match else 0
        server.ranges_asked.append(start)
        if server.statuses and (status := server.statuses.pop(0)) != 200:
            self.send_error(status)
            return
        same = not server.honours_if_range or self.headers.get("If-Range", server.etag) == server.etag
        size = len(server.content)
        if match and server.ranges and same:
            if start >= size:
                self.send_error(416)
                return
            end = min(int(match[2]), size - 1) if match[2] else size - 1
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{end}/{size}")
            self._body(server.content[start : end + 1], partial=True)
        else:
            self.send_response(200)
            self._body(server.content, partial=False)

    def _body(self, body: bytes, partial: bool) -> None:
        server = self.server
        if server.etag and not (partial and server.version_header == "Last-Modified"):
            self.send_header(server.version_header, server.etag)  # a date may be left out after If-Range
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", server.kind)
        for name, value in server.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        stop = server.drops.pop(0) if server.drops else len(body)
        sent = body[:stop]
        server.served += len(sent)
        self.wfile.write(sent)
        self.wfile.flush()
        self.close_connection = True
        if stop < len(body) and server.stall:
            server.stalled.set()
            server.go_on.wait(30)


@contextmanager
def serving(content: bytes) -> Iterator[FileServer]:
    """A running server."""
    server = FileServer(content)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.go_on.set()
        server.shutdown()
        server.server_close()
