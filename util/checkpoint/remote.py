"""Opening remote files for reading from any byte on: ``http(s)://`` directly, ``az://`` and ``gs://`` by blobfile.

blobfile reads only its two clouds, so plain HTTP goes through the standard library, and so do the ``https://``
addresses of public Azure files: no credentials are looked for, and the proxies of the environment are used.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import logging
import re
import socket
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from util.version import __version__

SCHEMES = ("http", "https", "az", "gs")
TIMEOUT = 20.0  # seconds without a byte from the server
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})  # states of a server that may be over soon

log = logging.getLogger("ddfm")


class DownloadError(OSError):
    """A download that cannot succeed as things are; the message names the file and says what to do."""


class ConnectionLost(DownloadError):
    """The connection ended, or the server is busy: going on later may succeed."""


class ServerUnreachable(ConnectionLost):
    """There is no connection at all."""


@dataclass(frozen=True)
class Reply:
    """A remote file, open at byte ``offset``, which is 0 when it cannot be read from where it was asked for.

    ``stream``: binary, with the method ``read1``; ``size``: of the whole file, None if the server does not say;
    ``version``: changes when the file does (HTTP: ETag or date; empty if the server names none); ``marked``: whether
    its end is marked, so that one that breaks off is told from one that is whole.
    """

    stream: Any
    offset: int
    size: int | None
    version: str
    marked: bool = True


def is_remote(path: str) -> bool:
    """Whether a path is an address that :func:`open_remote` understands. Raises DownloadError for other ones."""
    scheme, found, _ = path.partition("://")
    if found and scheme.lower() not in SCHEMES:
        known = ", ".join(f"{name}://" for name in SCHEMES)
        raise DownloadError(f"{path}: no address of a kind that is known here ({known})")
    return bool(found)


def public_url(url: str) -> str:
    """The address without user, password and query, which may hold access keys."""
    parts = urllib.parse.urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def file_name(url: str) -> str:
    """The last part of the address. Raises DownloadError where that is no name for a file."""
    name = urllib.parse.unquote(urllib.parse.urlsplit(url).path).rpartition("/")[2]
    if name.strip(". ") == "" or not name.isprintable() or "\\" in name:
        raise DownloadError(f"{public_url(url)}: the address does not end with the name of a file")
    return name


@contextlib.contextmanager
def open_remote(url: str, offset: int = 0, version: str = "") -> Iterator[Reply]:
    """The file at ``url`` from byte ``offset`` on, or from 0 if it is not of ``version`` any more.

    Raises :class:`ConnectionLost` where trying again may help, also while the body of the ``with`` statement
    reads, and :class:`DownloadError` where it does not.
    """
    opener = _open_http if urllib.parse.urlsplit(url).scheme in ("http", "https") else _open_blob
    try:
        with opener(url, offset, version) as reply:
            yield reply
    except DownloadError:
        raise
    except (http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError) as error:
        raise ConnectionLost(f"{public_url(url)}: {_words(error)}") from error


@contextlib.contextmanager
def _open_http(url: str, offset: int, version: str) -> Iterator[Reply]:
    response = _request(url, offset, version)
    reply = _http_reply(url, response)
    changed = (
        bool(version and reply.version) and reply.version != version
    )  # after If-Range it may be left out
    if reply.offset and (changed or reply.offset != offset):
        response.close()
        response = _request(url, 0, "")
        reply = _http_reply(url, response)
        if reply.offset:
            response.close()
            raise DownloadError(
                f"{public_url(url)}: the server begins at byte {reply.offset:,} of the file when it is asked for the "
                "whole; fetch it by hand and give the local path"
            )
    with response:
        yield reply


def _request(url: str, offset: int, version: str) -> http.client.HTTPResponse:
    headers = {"User-Agent": f"DDFM/{__version__}", "Accept-Encoding": "identity"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
        if version:
            headers["If-Range"] = version  # a changed file is sent whole
    try:
        return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416 and offset:  # shorter than what we have: another file
            return _request(url, 0, "")
        raise _refusal(url, error.code, error.reason) from error
    except urllib.error.URLError as error:
        raise _unreachable(url, error.reason) from error
    except TimeoutError as error:
        raise _unreachable(url, error) from error
    except (ValueError, http.client.InvalidURL) as error:
        raise DownloadError(f"{public_url(url)} is no valid address ({error})") from error


def _http_reply(url: str, response: http.client.HTTPResponse) -> Reply:
    headers = response.headers
    if headers.get_content_type() == "text/html":
        raise DownloadError(
            f"{public_url(url)} is a web page, not a file: give the address of the file itself (a link that says "
            "raw or download), or log in to the network if it asks for that"
        )
    encoding = headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise DownloadError(
            f"{public_url(url)}: the server sends the file encoded as {encoding}, which it was asked not to do; "
            "fetch and unpack it by hand and give the local path"
        )
    tag = headers.get("ETag", "")
    version = tag if tag and not tag.startswith("W/") else headers.get("Last-Modified", "")
    offset, size = 0, None
    if response.status == 206:
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", headers.get("Content-Range", ""))
        if match is None:
            raise DownloadError(f"{public_url(url)}: the server does not say which part of the file it sends")
        offset = int(match[1])
        size = None if match[2] == "*" else int(match[2])
    elif (length := headers.get("Content-Length", "")).isdigit():
        size = int(length)
    marked = size is not None or bool(response.chunked)
    return Reply(response, offset, size, version, marked)


def _refusal(url: str, status: int, reason: str) -> DownloadError:
    said = f"{public_url(url)}: the server answers {status} {reason}"
    if status in _PASSING:
        return ConnectionLost(said)
    remedy = {
        401: ": the file is not public; fetch it by hand and give the local path",
        403: ": the file is not public; fetch it by hand and give the local path",
        404: ": there is no such file; check the address",
        407: ": the proxy of this network wants a password",
        410: ": the file is not there any more",
    }
    return DownloadError(said + remedy.get(status, ""))


def _unreachable(url: str, reason: object) -> DownloadError:
    host = urllib.parse.urlsplit(url).netloc.rpartition("@")[2]
    if isinstance(reason, ssl.SSLCertVerificationError):
        return DownloadError(f"{public_url(url)}: the certificate of {host} cannot be trusted ({reason})")
    return ServerUnreachable(
        f"{public_url(url)}: {host} cannot be reached ({_words(reason)}); check the network and the address"
    )


def _words(reason: object) -> str:
    if isinstance(reason, socket.gaierror):
        return "its name is not known"
    if isinstance(reason, TimeoutError):
        return f"no answer within {TIMEOUT:.0f} s"
    if isinstance(reason, OSError):
        return reason.strerror or str(reason)
    return str(reason) or type(reason).__name__


@contextlib.contextmanager
def _open_blob(url: str, offset: int, version: str) -> Iterator[Reply]:
    import blobfile  # here, because it takes as long as all the rest and few need it
    import urllib3

    address = public_url(url)
    context = blobfile.create_context(
        log_callback=log.debug,
        retry_limit=1,
        connect_timeout=int(TIMEOUT),
        read_timeout=int(TIMEOUT),
        save_access_token_to_disk=False,
    )
    try:
        stat = context.stat(address)
        found = stat.version or ""
        if offset > stat.size or (version and version != found):
            offset = 0
        with context.BlobFile(address, "rb", file_size=stat.size) as stream:
            stream.seek(offset, io.SEEK_SET)
            yield Reply(stream, offset, stat.size, found)
    except FileNotFoundError as error:
        raise DownloadError(f"{address}: there is no such file; check the address") from error
    except urllib3.exceptions.HTTPError as error:
        raise ServerUnreachable(f"{address} cannot be reached ({error}); check the network") from error
    except blobfile.VersionMismatch as error:
        raise ConnectionLost(f"{address}: the file was changed meanwhile") from error
    except blobfile.RequestFailure as error:
        if error.response_status == 0:  # no answer
            cause = error.message.removeprefix("request failed with exception ")
            raise ServerUnreachable(f"{address} cannot be reached ({cause}); check the network") from error
        raise _refusal(address, error.response_status, error.error or "") from error
    except blobfile.Error as error:
        hint = ". The https:// address of a public file needs none" if address.startswith("az://") else ""
        raise DownloadError(f"{address}: {error.message.splitlines()[0]}{hint}") from error
