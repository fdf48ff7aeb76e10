"""An incremental parser of server-sent events, as far as streaming completions use them."""

from __future__ import annotations


class EventParser:
    """Turns bytes, split anywhere, into the data of events (WHATWG HTML, section 9.2.6).

    Lines end by LF, CRLF or CR; a blank line ends an event; several data lines are joined by LF; comments and other
    fields are skipped. An event that the stream breaks off is never delivered, as the standard asks.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []
        self._begun = False
        self._after_cr = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """The data of all events that `chunk` completes."""
        buffer = self._rest + self._without_split_crlf(chunk)
        if not self._begun:
            # A byte order mark may lead the stream, and may itself be split over reads.
            if len(buffer) < 3 and b"\xef\xbb\xbf".startswith(buffer):
                self._rest = buffer
                return []
            self._begun = True
            buffer = buffer.removeprefix(b"\xef\xbb\xbf")
        if b"\r" in buffer:
            buffer = buffer.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, self._rest = buffer.split(b"\n")
        return [event for event in map(self._line, lines) if event is not None]

    def _without_split_crlf(self, chunk: bytes) -> bytes:
        """`chunk` without the LF of a CRLF whose CR ended the chunk before (that CR has ended its line already)."""
        if not chunk:
            return chunk
        found = chunk[1:] if self._after_cr and chunk.startswith(b"\n") else chunk
        self._after_cr = chunk.endswith(b"\r")
        return found

    def _line(self, line: bytes) -> bytes | None:
        if not line:
            data, self._data = self._data, []
            return b"\n".join(data) if data else None
        if line.startswith(b"data:"):
            self._data.append(line[6:] if line[5:6] == b" " else line[5:])
        elif line == b"data":
            self._data.append(b"")
        return None
