"""An X server that serves the second and further connections of a program late.

On a busy machine a program comes to one of its connections later than to another. Here that
happens each time, by a process between the programs and the server.
"""

from __future__ import annotations

import copy
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from support.x11 import XServer, end

_SOCKETS = "/tmp/.X11-unix/X"

_BETWEEN = """
import os, queue, socket, struct, sys, threading, time
own, server, late = sys.argv[1], sys.argv[2], float(sys.argv[3])
begun = threading.Event()

def send(to, waiting):
    while True:
        when, data, files = waiting.get()
        try:
            if not data:
                return to.shutdown(socket.SHUT_WR)
            time.sleep(max(0, when - time.monotonic()))
            sent = socket.send_fds(to, [data], files)
            to.sendall(data[sent:])
        except OSError:
            return
        for file in files:
            os.close(file)

def receive(of, to, is_late):
    waiting = queue.Queue()
    threading.Thread(target=send, args=(to, waiting), daemon=True).start()
    data = True
    while data:
        try:
            data, files, _, _ = socket.recv_fds(of, 65536, 16)
        except OSError:
            data, files = b"", []
        waiting.put((time.monotonic() + late * (is_late and begun.is_set()), data, files))

def begin():
    sys.stdin.readline()
    begun.set()

threading.Thread(target=begin, daemon=True).start()
listening = socket.socket(socket.AF_UNIX)
listening.bind(own)
listening.listen(16)
print("ready", flush=True)
seen = set()
while True:
    client, _ = listening.accept()
    pid, _, _ = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    behind = socket.socket(socket.AF_UNIX)
    behind.connect(server)
    threading.Thread(target=receive, args=(client, behind, False), daemon=True).start()
    threading.Thread(target=receive, args=(behind, client, pid in seen), daemon=True).start()
    seen.add(pid)
"""


@contextmanager
def serving_late(server: XServer, late_s: float) -> Iterator[tuple[XServer, Callable[[], None]]]:
    """Return the same server under another number, for a `Recorder`; and what makes it late from then on.

    To the server all connections that come this way are one program's.
    """
    number = random.randint(60000, 64000)  # the servers of tests take lower ones
    own, behind = f"{_SOCKETS}{number}", f"{_SOCKETS}{server.display.removeprefix(':')}"
    argv = [sys.executable, "-c", _BETWEEN, own, behind, str(late_s)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen(argv, **pipes)  # type: ignore[call-overload]
    try:
        assert process.stdout.readline() == "ready\n"
        late = copy.copy(server)
        late.env = {**server.env, "DISPLAY": f":{number}"}

        def begin() -> None:
            process.stdin.write("\n")
            process.stdin.flush()

        yield late, begin
    finally:
        end(process)
        process.stdin.close()
        process.stdout.close()
        Path(own).unlink()
