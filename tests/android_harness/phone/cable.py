"""A cable between adb server and phone that can break: a TCP relay on the loopback."""

from __future__ import annotations

import socket
import threading


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
