"""MySQL, in addition to the system's MariaDB.

MYSQL_URL names a server that runs. Otherwise MYSQL97 names a folder with the programs,
as Debian's packages have them below `/`, and each test process starts a server of its
own on a free port, with its data in a temporary folder. `.ci/run` fetches the programs.

    PYTHONPATH=tests python -m engines.mysql_server PROGRAMS

starts one, prints its URL, and stops it when it is ended itself.
"""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from application import MEMORY
from engines.worlds import MariaDB

START_TIMEOUT = 120  # seconds
USER = "nobody" if os.geteuid() == 0 else None  # the server does not run as root
OPTIONS = [
    "--bind-address=127.0.0.1",
    "--mysqlx=OFF",
    "--disable-log-bin",
    # For the speed of the tests.
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-doublewrite=OFF",
    "--innodb-buffer-pool-size=64M",
    "--innodb-redo-log-capacity=16M",
]
_SEQUENCE_TABLE = re.compile(r"\bseq_(\d+)_to_(\d+)\b")
_SEQUENCE_QUERY = (
    r"(WITH RECURSIVE s (seq) AS (SELECT \1 UNION ALL SELECT seq + 1 FROM s "
    r"WHERE seq < \2) SELECT seq FROM s) AS t\1"
)


class MySQLServer:
    """A server that is started with a folder, and stopped with it."""

    def __init__(self, programs, *options):
        """Start a server; with the port in `url` it can be reached."""
        self.root = Path(programs)
        if not (self.root / "usr/sbin/mysqld").exists():
            raise LookupError("MYSQL97 names no folder that has usr/sbin/mysqld")
        self.folder = Path(tempfile.mkdtemp(prefix="mysql_", dir=MEMORY or None))
        self.process = None
        try:
            self.url = self._start(options)
        except BaseException:
            self.stop()
            raise

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)  # its data is removed anyway
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _command(self, *options):
        """Return the command line, with the loader and the libraries of the programs.

        They may be those of another system than this one.
        """
        libraries = self.root / "usr/lib/x86_64-linux-gnu"
        share = self.root / "usr/share/mysql"
        return [
            libraries / "ld-linux-x86-64.so.2",
            "--library-path",
            libraries,
            self.root / "usr/sbin/mysqld",
            "--no-defaults",
            f"--datadir={self.folder / 'data'}",
            f"--lc-messages-dir={share}",
            f"--character-sets-dir={share / 'charsets'}",
            f"--plugin-dir={self.root / 'usr/lib/mysql/plugin'}",
            "--secure-file-priv=",
            *options,
        ]

    def _start(self, options):
        if USER:
            shutil.chown(self.folder, USER)
        log = self.folder / "log"
        with open(log, "w") as written:
            surroundings = {
                "user": USER,
                "cwd": self.folder,
                "stdin": subprocess.DEVNULL,
                "stdout": written,
                "stderr": written,
            }
            made = subprocess.run(
                self._command("--initialize-insecure"), **surroundings
            )
            assert made.returncode == 0, log.read_text()[-1000:]
            with socket.create_server(("127.0.0.1", 0)) as free:
                port = free.getsockname()[1]
            place = [f"--port={port}", f"--socket={self.folder / 'socket'}"]
            self.process = subprocess.Popen(
                self._command(*place, *OPTIONS, *options), **surroundings
            )
        self._wait(port, log)
        return f"mysql://root@127.0.0.1:{port}/"

    def _wait(self, port, log):
        import pymysql

        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(pymysql.MySQLError):
                pymysql.connect(
                    host="127.0.0.1", port=port, user="root", ssl_disabled=True
                ).close()
                return
            time.sleep(0.1)
        raise RuntimeError(f"it did not start: {log.read_text()[-1000:]}")


class MySQL(MariaDB):
    """A database of MySQL. What differs from MariaDB's follows from `is_mariadb`."""

    is_mariadb = False

    def __init__(self):
        self.started = None
        url = os.environ.get("MYSQL_URL")
        if not url:
            self.started = MySQLServer(os.environ.get("MYSQL97", ""))
            url = self.started.url
        try:
            super().__init__(url)
            self.execute("SET cte_max_recursion_depth = 10000000")
        except BaseException:
            self._stop()
            raise

    def drop(self):
        super().drop()
        self._stop()

    def _stop(self):
        if self.started:
            self.started.stop()

    def execute(self, *statements):
        """Execute statements; MySQL has no tables `seq_1_to_9` as MariaDB has."""
        super().execute(
            *(_SEQUENCE_TABLE.sub(_SEQUENCE_QUERY, each) for each in statements)
        )


def main(programs):
    """Run a server until this process gets SIGTERM or SIGINT."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    server = MySQLServer(programs)
    try:
        print(server.url, flush=True)
        server.process.wait()
    except KeyboardInterrupt:
        pass
    finally:
        server.stop()


if __name__ == "__main__":
    main(sys.argv[1])
