"""Telling the test that a 0.1.5 process serves: its runners say so a moment too early."""

import json
import socket
import threading
import time


class Told:
    """The queue by which a runner says that it serves; tells the test once the port accepts connections."""

    def __init__(self, port):
        self.port = port

    def put(self, _):
        """Begin to look."""
        threading.Thread(target=self._tell_when_open, daemon=True).start()

    def _tell_when_open(self):
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    print(json.dumps({"port": self.port}), flush=True)
                    return
            time.sleep(0.02)
