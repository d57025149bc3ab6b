"""A TLS connection that one thread reads and others write, as websockets' threads do."""

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cogment_lab.testing.shared_tls import shared_tls_context

DEADLINE = 30.0
LARGE = bytes(range(256)) * 8_000  # many records, more than a socket holds


class Peer:
    """The server's end of one connection; what it sends is encrypted here, and put on the wire at will."""

    def __init__(self, files: dict[str, Path]) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(files["trust_chain"], files["private_key"])
        self.listener = socket.create_server(("127.0.0.1", 0))
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    def accept(self) -> None:
        self.socket, _ = self.listener.accept()
        self.socket.settimeout(DEADLINE)
        self._patiently(self._tls.do_handshake)
        self.socket.sendall(self._outgoing.read())

    def shake_hands_in_vain(self) -> None:
        with contextlib.suppress(OSError):
            self._patiently(self._tls.do_handshake)

    def encrypted(self, data: bytes) -> bytes:
        self._tls.write(data)
        return self._outgoing.read()

    def receive(self, size: int) -> bytes:
        received = b""
        while len(received) < size:
            received += self._patiently(self._tls.read)
        return received

    def close(self) -> None:
        self.socket.close()
        self.listener.close()

    def _patiently(self, act: Callable[[], Any]) -> Any:
        while True:
            with contextlib.suppress(ssl.SSLWantReadError):
                return act()
            self.socket.sendall(self._outgoing.read())
            data = self.socket.recv(65_536)
            if not data:
                raise ConnectionResetError("the client is gone")
            self._incoming.write(data)


@pytest.fixture
def ends(tls: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[ssl.SSLSocket, Peer]]:
    monkeypatch.setenv("SSL_CERT_FILE", str(tls["root_cert"]))
    peer = Peer(tls)
    accepting = threading.Thread(target=peer.accept)
    accepting.start()
    plain = socket.create_connection(("127.0.0.1", peer.listener.getsockname()[1]), DEADLINE)
    client = shared_tls_context().wrap_socket(plain, server_hostname="localhost")
    client.settimeout(None)  # as websockets does
    accepting.join(DEADLINE)
    yield client, peer
    client.close()
    peer.close()


class Reader(threading.Thread):
    """Reads until the end, as websockets' thread does."""

    def __init__(self, client: ssl.SSLSocket) -> None:
        super().__init__(daemon=True)
        self.client = client
        self.received = b""
        self.start()

    def run(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            while data := self.client.recv(65_536):
                self.received += data

    def gets(self, data: bytes) -> bool:
        deadline = time.monotonic() + DEADLINE
        while self.received != data and time.monotonic() < deadline:
            time.sleep(0.001)
        return self.received == data


def test_a_reader_in_the_midst_of_a_record_keeps_nobody_from_writing(ends: tuple[Any, Peer]) -> None:
    client, peer = ends
    reader = Reader(client)
    record = peer.encrypted(b"half and half")
    peer.socket.sendall(record[:9])
    time.sleep(0.05)
    client.sendall(b"ping")
    assert peer.receive(4) == b"ping"
    peer.socket.sendall(record[9:])
    assert reader.gets(b"half and half")


def test_closing_wakes_a_reader_in_the_midst_of_a_record(ends: tuple[Any, Peer]) -> None:
    client, peer = ends
    reader = Reader(client)
    peer.socket.sendall(peer.encrypted(b"half")[:9])
    time.sleep(0.05)
    client.close()
    reader.join(2.0)
    assert not reader.is_alive()


def test_much_goes_both_ways_at_once(ends: tuple[Any, Peer]) -> None:
    client, peer = ends
    reader = Reader(client)
    answer = peer.encrypted(LARGE)
    sending = threading.Thread(target=peer.socket.sendall, args=(answer,))
    sending.start()
    writing = threading.Thread(target=client.sendall, args=(LARGE,))
    writing.start()
    assert peer.receive(len(LARGE)) == LARGE
    writing.join(DEADLINE)
    sending.join(DEADLINE)
    assert reader.gets(LARGE)


def test_the_peers_end_is_an_end(ends: tuple[Any, Peer]) -> None:
    client, peer = ends
    reader = Reader(client)
    peer.socket.sendall(peer.encrypted(b"bye"))
    assert reader.gets(b"bye")
    peer.socket.close()
    reader.join(2.0)
    assert not reader.is_alive()


def test_a_certificate_that_nobody_vouches_for_is_refused(tls: dict[str, Path]) -> None:
    peer = Peer(tls)
    with socket.create_connection(("127.0.0.1", peer.listener.getsockname()[1]), DEADLINE) as plain:
        peer.socket, _ = peer.listener.accept()
        answering = threading.Thread(target=peer.shake_hands_in_vain)
        answering.start()
        with pytest.raises(ssl.SSLCertVerificationError):
            shared_tls_context().wrap_socket(plain, server_hostname="localhost")
    answering.join(DEADLINE)
    peer.close()
