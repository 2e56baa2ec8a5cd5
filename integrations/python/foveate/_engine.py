"""A server on this machine that belongs to one process."""

import ctypes
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor


class EngineError(Exception):
    """The server answered with an error (``status`` is its status), or the program did not start or has ended."""

    def __init__(self, message, status=None):
        super().__init__(message)
        self.status = status


def _die_with_parent():
    """Asks Linux to end the child when its parent is killed: an engine without a worker would hold its memory."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)


def _stop(process):
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Engine:
    """A model in a child process, which is asked over a local socket.

    :param model: a file, a folder, or a name that ``foveate pull`` knows.
    :param flags: further flags of ``foveate serve``, by name: ``sequences=32, threads=1, device="cpu"``.
    """

    def __init__(self, model="smollm2-135m", **flags):
        program = os.environ.get("FOVEATE") or shutil.which("foveate")
        if program is None:
            raise EngineError("no program foveate: install it, or name it in FOVEATE")
        command = [program, "serve", "--model", str(model), "--host", "127.0.0.1", "--port", "0"]
        for name, value in flags.items():
            flag = "--" + name.replace("_", "-")
            command += [flag] if value is True else [f"{flag}={value}"]
        preexec = _die_with_parent if sys.platform == "linux" else None
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, preexec_fn=preexec)
        line = self._process.stdout.readline()
        if not line.startswith("listening on http://"):
            _stop(self._process)
            raise EngineError(f"{' '.join(command)} did not start: run it to see why")
        self._address = line.split("//")[1].strip()
        self._close = weakref.finalize(self, _stop, self._process)
        self._pool = ThreadPoolExecutor(int(flags.get("sequences", 16)))

    def ask(self, path, body):
        """Posts ``body`` to ``path``, such as ``/v1/completions``, and returns the JSON of the answer."""
        connection = http.client.HTTPConnection(self._address, timeout=None)
        try:
            connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
            response = connection.getresponse()
            answer = json.loads(response.read())
        except (OSError, http.client.HTTPException) as error:
            raise EngineError(f"the engine has ended: {error}") from error
        finally:
            connection.close()
        if response.status != 200:
            raise EngineError(answer["error"]["message"], response.status)
        return answer

    def ask_all(self, path, bodies):
        """The answers to many requests, which run together; in place of one that was refused, its :class:`EngineError`."""

        def one(body):
            try:
                return self.ask(path, body)
            except EngineError as error:
                if error.status is None or error.status >= 500:
                    raise
                return error

        return list(self._pool.map(one, bodies))

    def close(self):
        """Ends the process."""
        self._pool.shutdown(wait=False)
        self._close()
