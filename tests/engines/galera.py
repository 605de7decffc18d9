"""A Galera cluster of three nodes on loopback, with its data in a temporary folder.

It requires MariaDB's server with the Galera library. A node joins by rsync and socat.
"""

import contextlib
import getpass
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

with contextlib.suppress(ImportError):
    import pymysql

PROVIDER = Path("/usr/lib/galera/libgalera_smm.so")
PROGRAMS = ("mariadbd", "mariadb-install-db", "rsync", "socat")
NODES = (0, 1, 2)
JOIN_TIMEOUT = 90  # seconds for a node to join
# Neither the server nor its rsync runs as root.
USER = "mysql" if os.geteuid() == 0 else getpass.getuser()


def missing():
    """Return the required programs and libraries that are not installed."""
    names = [name for name in PROGRAMS if not shutil.which(name)]
    if not PROVIDER.exists():
        names.append(str(PROVIDER))
    return names


class Cluster:
    """Starts the nodes one after the other, and stops them."""

    def __init__(self):
        # Not below pytest's folder, which only its own user may read.
        self.folder = Path(tempfile.mkdtemp(prefix="galera_"))
        if USER == "mysql":
            shutil.chown(self.folder, USER)
        self.processes = {}
        ports = _free_ports(4 * len(NODES))
        self.sql, self.group, self.incremental, self.state = (
            ports[i::4] for i in range(4)
        )

    def start(self):
        for node in NODES:
            self.start_node(node)
        return self

    def start_node(self, node):
        data = self.folder / f"node{node}"
        if not data.exists():
            self._install(data)
        arguments = self._arguments(node, data)
        if not any(process.poll() is None for process in self.processes.values()):
            arguments.append("--wsrep-new-cluster")
        self.processes[node] = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._wait_until_synced(node, data)

    def _install(self, data):
        command = [
            "mariadb-install-db",
            "--no-defaults",
            f"--user={USER}",
            f"--datadir={data}",
            f"--tmpdir={self._own_tmp()}",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            "--skip-name-resolve",
        ]
        made = subprocess.run(command, capture_output=True, text=True)
        assert made.returncode == 0, made.stdout + made.stderr

    def _own_tmp(self):
        """Return a tmpdir: a node deletes the temporary tables of others in its own."""
        folder = self.folder / "tmp"
        folder.mkdir(exist_ok=True)
        shutil.chown(folder, USER)
        return folder

    def _arguments(self, node, data):
        def at(port):
            return f"127.0.0.1:{port}"

        provider = {
            "base_host": "127.0.0.1",
            "base_port": self.group[node],
            "gcache.size": "16M",
            "gmcast.listen_addr": f"tcp://{at(self.group[node])}",
            "ist.recv_addr": at(self.incremental[node]),
        }
        options = {
            "user": USER, "datadir": data, "tmpdir": self._own_tmp(),
            "socket": data / "s", "port": self.sql[node], "bind-address": "127.0.0.1",
            "pid-file": data / "pid", "log-error": data / "error.log",
            "skip-name-resolve": "ON", "innodb-buffer-pool-size": "48M",
            "innodb-log-file-size": "16M", "innodb-flush-log-at-trx-commit": 0,
            "innodb-autoinc-lock-mode": 2, "binlog-format": "ROW",
            "performance-schema": "OFF", "wsrep-on": "ON", "wsrep-provider": PROVIDER,
            "wsrep-cluster-name": self.folder.name,
            "wsrep-cluster-address": "gcomm://" + ",".join(map(at, self.group)),
            "wsrep-node-name": f"node{node}",
            "wsrep-node-address": at(self.group[node]), "wsrep-sst-method": "rsync",
            "wsrep-sst-receive-address": at(self.state[node]),
            "wsrep-provider-options": ";".join(
                f"{name}={value}" for name, value in provider.items()
            ),
        }  # fmt: skip
        return [
            "mariadbd",
            "--no-defaults",
            *(f"--{name}={value}" for name, value in options.items()),
        ]

    def _wait_until_synced(self, node, data):
        deadline = time.monotonic() + JOIN_TIMEOUT
        while time.monotonic() < deadline and self.processes[node].poll() is None:
            with contextlib.suppress(pymysql.MySQLError):
                connection = pymysql.connect(
                    unix_socket=str(data / "s"), user="root", autocommit=True
                )
                with connection, connection.cursor() as cursor:
                    cursor.execute("SHOW STATUS LIKE 'wsrep_local_state_comment'")
                    if cursor.fetchone()[1] == "Synced":
                        cursor.execute("CREATE USER IF NOT EXISTS root@'127.0.0.1'")
                        cursor.execute(
                            "GRANT ALL ON *.* TO root@'127.0.0.1' WITH GRANT OPTION"
                        )
                        return
            time.sleep(0.2)
        raise RuntimeError(
            f"node {node} did not join: {(data / 'error.log').read_text()[-2000:]}"
        )

    def url(self, node, name):
        return f"mysql://root@127.0.0.1:{self.sql[node]}/{name}"

    def size(self, node):
        connection = pymysql.connect(host="127.0.0.1", port=self.sql[node], user="root")
        with connection, connection.cursor() as cursor:
            cursor.execute("SHOW STATUS LIKE 'wsrep_cluster_size'")
            return int(cursor.fetchone()[1])

    def kill(self, node):
        self.processes[node].send_signal(signal.SIGKILL)
        self.processes[node].wait()

    def revive(self):
        """Start the nodes again that have ended."""
        for node, process in list(self.processes.items()):
            if process.poll() is not None:
                self.start_node(node)

    def stop(self):
        for process in reversed(self.processes.values()):
            if process.poll() is None:
                process.terminate()
        for process in self.processes.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def _free_ports(count):
    """Return ports outside of the range of outgoing connections."""
    free = []
    while len(free) < count:
        port = random.randrange(20_000, 32_000)
        if port in free:
            continue
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            free.append(port)
    return free
