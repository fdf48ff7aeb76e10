"""Reads one HTTP/1.1 response from bytes that are split anywhere (RFC 9112)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

_STATUS = re.compile(rb"HTTP/1\.([01]) (\d{3})(?: |$)")
_LENGTH = re.compile(rb"\d{1,15}$")
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,12})[ \t]*(?:;|$)")
_MOST_HEAD = 65536
_NO_BODY = (204, 304)


class BadResponse(Exception):
    """What arrived is no HTTP/1.1 response."""


class Response:
    """One response as far as it has arrived: `status` once its head is there, `complete` once its body is.

    A body ends by its length, by its last chunk, or with the connection. Interim (1xx) responses are skipped. What
    follows the body is not part of it: `reusable` says whether the connection may carry a further request. `chunked`
    says that nothing but a last chunk ends the body.
    """

    def __init__(self) -> None:
        self.status: int | None = None
        self.complete = False
        self.reusable = False
        self.chunked = False
        self._rest = b""  # of a head, a chunk's size, a chunk's end or a trailer
        self._left = 0  # bytes still to come of a chunk, or of a body of known length
        self._read: Callable[[bytes], bytes] = self._head

    def feed(self, data: bytes) -> bytes:
        """The part of the body that `data` brings. Raises BadResponse."""
        return self._read(data)

    def end(self) -> None:
        """The connection is closed, which ends a body of unknown length."""
        if self._read == self._until_closed:
            self.complete = True

    def _head(self, data: bytes) -> bytes:
        head, found, rest = (self._rest + data).partition(b"\r\n\r\n")
        if len(head) > _MOST_HEAD or not b"HTTP/1."[: len(head)] == head[:7]:
            raise BadResponse(f"{head[:80]!r} does not begin an HTTP/1.1 response")
        if not found:
            self._rest = head
            return b""
        self._rest = b""
        line, *fields = head.split(b"\r\n")
        matched = _STATUS.match(line)
        if matched is None:
            raise BadResponse(f"{line[:80]!r} is no status line")
        status = int(matched[2])
        if 100 <= status < 200:
            return self._head(rest)
        self.status = status
        self._body_of(status, _fields(fields), persistent=matched[1] == b"1")
        return self._read(rest) if rest or self.complete else b""

    def _body_of(self, status: int, fields: Mapping[bytes, bytes], persistent: bool) -> None:
        options = [option.strip() for option in fields.get(b"connection", b"").lower().split(b",")]
        self.reusable = b"close" not in options and (persistent or b"keep-alive" in options)
        length = fields.get(b"content-length")
        if status in _NO_BODY:
            self._finish()
        elif fields.get(b"transfer-encoding", b"").lower().endswith(b"chunked"):
            self.chunked, self._read = True, self._size
        elif length is None:
            self.reusable = False
            self._read = self._until_closed
        elif not _LENGTH.match(length):
            raise BadResponse(f"{length[:80]!r} is no length")
        elif int(length):
            self._left = int(length)
            self._read = self._of_length
        else:
            self._finish()

    def _until_closed(self, data: bytes) -> bytes:
        return data

    def _of_length(self, data: bytes) -> bytes:
        body = data[: self._left]
        self._left -= len(body)
        if not self._left:
            self._finish()
            self._behind(data[len(body) :])
        return body

    def _size(self, data: bytes) -> bytes:
        """Whole chunks, as many as there are."""
        buffer = self._rest + data
        body: list[bytes] = []
        at = 0
        while (end := buffer.find(b"\r\n", at)) >= 0:
            size = _chunk_size(buffer[at:end])
            at = end + 2
            if size == 0:
                self._rest, self._read = b"", self._trailer
                self._trailer(buffer[at:])
                return b"".join(body)
            body.append(buffer[at : at + size])
            behind = buffer[at + size : at + size + 2]
            if len(behind) < 2:
                self._left, self._rest, self._read = max(0, at + size - len(buffer)), behind, self._chunk
                return b"".join(body)
            _check_end(behind)
            at += size + 2
        self._rest = buffer[at:]
        if len(self._rest) > _MOST_HEAD:
            raise BadResponse(f"{self._rest[:80]!r} is no size of a chunk")
        return b"".join(body)

    def _chunk(self, data: bytes) -> bytes:
        """The rest of a chunk that did not come whole, and what follows it."""
        body = data[: self._left]
        self._left -= len(body)
        if self._left:
            return body
        behind = self._rest + data[len(body) :]
        if len(behind) < 2:
            self._rest = behind
            return body
        _check_end(behind[:2])
        self._rest, self._read = b"", self._size
        return body + self._size(behind[2:])

    def _trailer(self, data: bytes) -> bytes:
        buffer = self._rest + data
        while (end := buffer.find(b"\r\n")) > 0:
            buffer = buffer[end + 2 :]
        self._rest = buffer
        if buffer.startswith(b"\r\n"):
            self._finish()
            self._behind(buffer[2:])
        return b""

    def _finish(self) -> None:
        self.complete = True
        self._rest, self._read = b"", self._behind

    def _behind(self, data: bytes) -> bytes:
        # Nobody asked for it, so the next answer could not be told from it.
        if data:
            self.reusable = False
        return b""


def _fields(lines: list[bytes]) -> dict[bytes, bytes]:
    named = (line.partition(b":") for line in lines)
    return {name.strip().lower(): value.strip() for name, _, value in named}


def _check_end(behind: bytes) -> None:
    if behind != b"\r\n":
        raise BadResponse(f"{behind!r} follows a chunk in place of its end")


def _chunk_size(line: bytes) -> int:
    size = _SIZE.match(line)
    if size is None:
        raise BadResponse(f"{line[:80]!r} is no size of a chunk")
    return int(size[1], 16)
