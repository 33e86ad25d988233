"""A Python that has imported torch already: it runs scripts in forks of itself, as a new Python would run them.

`WARM SCRIPT ARGUMENTS...` is a small program that hands its arguments, its folder, its environment and its standard
streams to the server, which forks; the fork does what a new Python does with them, from sitecustomize to the
functions registered with atexit, and its exit code becomes the program's. The one thing left out is to execute
torch's own modules again: `import torch` goes through all of Python's import system, and so through whatever waits
for it there, and is answered at its very end by the module that the server has imported. That makes a hundred
starts cost what one costs.
"""

from __future__ import annotations

import array
import atexit
import gc
import importlib.machinery
import json
import os
import runpy
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

#: The client: without torch, without site, so that it starts in a few milliseconds.
_CLIENT = """#!{python} -IS
import array, json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    words = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
    streams = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))
    server.sendmsg([len(words).to_bytes(4, "big")], [streams])
    server.sendall(words)
    code = server.recv(1)
sys.exit(code[0] if code else "the warm Python is gone")
"""


class WarmPython:
    """A server for the time of a context, and the program that asks it.

    Args:
        folder: for the socket and the program.
        preload: modules imported before the forks, beside torch; nothing that itself waits for torch.
    """

    def __init__(self, folder: Path, preload: list[str]) -> None:
        self.program = folder / "warm-python"
        address = str(folder / "warm.socket")
        self.program.write_text(_CLIENT.format(python=sys.executable, address=address))
        self.program.chmod(0o755)
        environment = {key: value for key, value in os.environ.items() if not key.startswith("GANDIAG_")}
        environment["OMP_NUM_THREADS"] = "1"
        self._server = subprocess.Popen([sys.executable, __file__, address, *preload], env=environment)
        deadline = time.monotonic() + 60
        while not Path(address).exists():
            assert self._server.poll() is None, "the warm Python did not start"
            assert time.monotonic() < deadline, "the warm Python takes too long to start"
            time.sleep(0.02)

    def close(self) -> None:
        """End the server."""
        self._server.terminate()
        self._server.wait()


class _Imported:
    """The loader of a module that is there already."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        """Nothing: it has been executed."""


class _Finder:
    """Finds torch where Python finds it, and has it loaded by `_Imported`. Stands last but for Python's own finders."""

    def __init__(self, torch: ModuleType) -> None:
        self._torch = torch

    def find_spec(self, name: str, path: object = None, target: object = None) -> importlib.machinery.ModuleSpec | None:
        if name != "torch":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name)
        assert spec is not None
        spec.loader = _Imported(self._torch)  # type: ignore[assignment]
        return spec


def _serve(address: str, preload: list[str]) -> None:
    import torch

    for name in preload:
        importlib.import_module(name)
    torch.set_num_threads(1)
    gc.freeze()  # what is alive now is none of the script's, and need not be copied into each fork
    # Written under another name first: the file's presence says that the server listens.
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(address + ".new")
        server.listen()
        Path(address + ".new").rename(address)
        while True:
            connection, _ = server.accept()
            with connection:
                words, streams = _received(connection)
                child = os.fork()
                if not child:
                    server.close()
                    connection.close()
                    break
                for stream in streams:
                    os.close(stream)
                code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
                connection.sendall(bytes([code if code >= 0 else 128 - code]))
    # Below here it is the fork; an error in the script leaves it as it leaves any Python.
    arguments, folder, environment = words
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.meta_path.insert(0, _Finder(sys.modules.pop("torch")))  # type: ignore[arg-type]
    sys.argv = arguments
    # As a new Python sets up its path and runs sitecustomize.
    sys.path[:1] = [entry for entry in environment.get("PYTHONPATH", "").split(os.pathsep) if entry]
    sys.modules.pop("sitecustomize", None)
    if importlib.machinery.PathFinder.find_spec("sitecustomize") is not None:
        importlib.import_module("sitecustomize")
    sys.path.insert(0, str(Path(arguments[0]).resolve().parent))
    runpy.run_path(arguments[0], run_name="__main__")
    # The end of Python without its last act, to take apart all that was imported, which takes longer than the script.
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _received(connection: socket.socket) -> tuple[tuple[list[str], str, dict[str, str]], list[int]]:
    head, extra, _, _ = connection.recvmsg(4, socket.CMSG_SPACE(3 * array.array("i").itemsize))
    streams = array.array("i")
    streams.frombytes(extra[0][2])
    size, body = int.from_bytes(head, "big"), b""
    while len(body) < size:
        body += connection.recv(size - len(body))
    return json.loads(body), list(streams)


if __name__ == "__main__":
    _serve(sys.argv[1], sys.argv[2:])
