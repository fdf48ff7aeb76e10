"""TLS beside a socket, so that whoever reads the socket still learns when bytes arrived."""

from __future__ import annotations

import asyncio
import socket
import ssl

_RECORD = 1 << 16


def trust() -> ssl.SSLContext:
    """Whom we believe to be who they are: the certificates that this system trusts, or SSL_CERT_FILE names."""
    return ssl.create_default_context()


class Tls:
    """TLS of one connection, whose socket others read and write. `over`: the server has said that it sends no more."""

    def __init__(self, context: ssl.SSLContext, host: str) -> None:
        self.over = False
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)

    async def handshake(self, connected: socket.socket) -> None:
        """Agree on keys; raises OSError (ssl.SSLError) where the server's certificate does not hold."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await loop.sock_sendall(connected, self._outgoing.read())
                data = await loop.sock_recv(connected, _RECORD)
                if not data:
                    raise ConnectionResetError("the server closed the connection in the TLS handshake") from None
                self._incoming.write(data)
            else:
                await loop.sock_sendall(connected, self._outgoing.read())
                return

    def encrypted(self, data: bytes) -> bytes:
        """What to send for `data`."""
        self._tls.write(data)
        return self._outgoing.read()

    def decrypted(self, data: bytes) -> bytes:
        """What `data` brings, perhaps nothing yet; raises OSError (ssl.SSLError) where it is broken."""
        self._incoming.write(data)
        parts = []
        try:
            while part := self._tls.read(_RECORD):
                parts.append(part)
            self.over = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.over = True
        return b"".join(parts)
