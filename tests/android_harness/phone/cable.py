"""What may stand between us and a phone: a cable that breaks, an adb server of other names.

Both are TCP relays on the loopback.
"""

from __future__ import annotations

import socket
import threading


class OtherNames:
    """An adb server that lists phones under other names and is the real one in all else.

    Args:
        server_port: of the real adb server.
        names: a phone's name there -> here.
    """

    def __init__(self, server_port: int, names: dict[str, str]) -> None:
        self._server_port, self.names = server_port, names
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(near,), daemon=True).start()

    def _answer(self, near: socket.socket) -> None:
        """Names are in the first request and in the answer to ``host:devices``, nowhere else."""
        request = near.recv(int(near.recv(4), 16)).decode()
        far = socket.create_connection(("127.0.0.1", self._server_port))
        for there, here in self.names.items():
            request = request.replace(here, there)
        far.sendall(_block(request))
        if request == "host:devices":
            answer = b"".join(iter(lambda: far.recv(65536), b"")).decode()
            for there, here in self.names.items():
                answer = answer.replace(f"{there}\t", f"{here}\t")
            near.sendall(answer[:4].encode() + _block(answer[8:]))
            near.close()
            return
        for source, sink in ((near, far), (far, near)):
            threading.Thread(target=_relay, args=(source, sink), daemon=True).start()


def _block(text: str) -> bytes:
    return f"{len(text.encode()):04x}{text}".encode()


def _relay(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # the other end has hung up


class Cable:
    """Relays one port to another; ``break_after`` cuts it after that many bytes to the phone."""

    def __init__(self, phone_port: int) -> None:
        self._phone_port = phone_port
        self._left: int | None = None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.serial = f"127.0.0.1:{self.port}"
        self.breaks = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def break_after(self, size: int) -> None:
        self._left = size

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._phone_port))
            except OSError:
                return
            for source, sink in ((near, far), (far, near)):
                threading.Thread(
                    target=self._relay, args=(source, sink, sink is far), daemon=True
                ).start()

    def _relay(self, source: socket.socket, sink: socket.socket, to_phone: bool) -> None:
        try:
            while data := source.recv(65536):
                if to_phone and self._left is not None:
                    data, self._left = data[: self._left], self._left - len(data)
                    if self._left <= 0:
                        sink.sendall(data)
                        self._left, self.breaks = None, self.breaks + 1
                        break
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            end.close()
