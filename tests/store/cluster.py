"""A PostgreSQL cluster of our own, for the tests of one process."""

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any


class Cluster:
    """A cluster in a temporary directory that listens on a Unix socket there."""

    def __init__(
        self, programs: Path, settings: str = "-c fsync=off -c shared_buffers=8MB"
    ) -> None:
        self._programs = programs
        self._settings = settings
        # Its server refuses to run as root.
        self._user = "postgres" if os.geteuid() == 0 else None
        self._directory = tempfile.mkdtemp(prefix="pg")
        if self._user:
            shutil.chown(self._directory, self._user)
        atexit.register(self.remove)
        self._run(
            "initdb",
            "--auth=trust",
            "--username=postgres",
            "--encoding=UTF8",
            "--no-locale",
            "--no-sync",
        )
        self.start()

    @property
    def url(self) -> str:
        """The URL of its database."""
        return f"postgresql://postgres@/postgres?host={self._directory}"

    def start(self) -> None:
        """Start the server."""
        settings = f"-k {self._directory} -c listen_addresses= {self._settings}"
        log = f"{self._directory}/log"
        self._run("pg_ctl", "-w", "-o", settings, "-l", log, "start")

    def stop(self) -> None:
        """Stop the server as a crash does."""
        self._run("pg_ctl", "-w", "-m", "immediate", "stop")

    def clear(self) -> str:
        """Empty the database; its URL."""
        self.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        return self.url

    def execute(self, statements: str) -> None:
        """Execute statements in the database."""
        with self.connected(autocommit=True) as connection:
            connection.execute(statements.encode())

    def ask(self, statement: str) -> Any:
        """The first value of the first row that a statement gives."""
        with self.connected(autocommit=True) as connection:
            row = connection.execute(statement.encode()).fetchone()
            return None if row is None else row[0]

    def connected(self, autocommit: bool = False) -> Any:
        """A connection of psycopg."""
        import psycopg

        host = f"host={self._directory} user=postgres dbname=postgres"
        return psycopg.connect(host, autocommit=autocommit)

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [self._programs / program, "-D", f"{self._directory}/data", *arguments],
            check=True,
            user=self._user,
            cwd=self._directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )

    def remove(self) -> None:
        """Stop it, and remove its files."""
        atexit.unregister(self.remove)
        with suppress(subprocess.CalledProcessError):
            self.stop()
        shutil.rmtree(self._directory, ignore_errors=True)


def programs() -> Path | None:
    """Where the newest PostgreSQL's server is installed, if any is."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if installed:
        return installed[-1]
    found = shutil.which("pg_ctl")
    return None if found is None else Path(found).parent


@cache
def cluster() -> Cluster | None:
    """The cluster; None, and why, where PostgreSQL is not installed."""
    found = programs()
    if found is None:
        print("PostgreSQL's server is not installed: its tests are skipped", file=sys.stderr)
        return None
    return Cluster(found)
