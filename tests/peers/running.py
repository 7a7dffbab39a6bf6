"""The service as an operator runs it: a ``twistd`` of its own in a directory of its own."""

import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Thread
from typing import IO, Any

from simplestack.app.control import ask
from simplestack.command.user import credential
from simplestack.sip.uri import parse_uri
from simplestack.store.credentials import CredentialTable
from tests.ports import free_port

__all__ = ["DOMAIN", "Running", "twistd"]

#: The root of the checkout, from where ``simplestack`` is imported.
ROOT = Path(__file__).resolve().parents[2]
#: The domain that is served.
DOMAIN = "example.com"
#: How long a start or a stop may take, in seconds.
PATIENCE = 30.0

_TAC = """\
from twisted.application.service import Application

from simplestack.app.settings import Settings
from simplestack.app.tap import Daemon, makeStack

application = Application("simplestack")
Daemon(makeStack(Settings(**{settings!r}))).setServiceParent(application)
"""


def environment() -> dict[str, str]:
    """The environment of a program that imports this checkout, from whatever directory."""
    paths = filter(None, (str(ROOT), os.environ.get("PYTHONPATH", "")))
    return os.environ | {"PYTHONUNBUFFERED": "1", "PYTHONPATH": os.pathsep.join(paths)}


def twistd(*arguments: str) -> list[str]:
    """The command ``twistd`` with these arguments, in the environment of this Python."""
    return [sys.executable, "-c", "from twisted.scripts.twistd import run; run()", *arguments]


class Running:
    """A server; ``start`` it, as often as it has been stopped or killed.

    Every change is told, unless a .tac says otherwise.

    :param directory: where it runs and keeps its database; made where it is not there.
    :param options: of ``twistd simplestack``, beyond domain, ports and store.
    :param settings: where given, the server runs from a .tac with these settings in place of
        options, which reach more than the options do.
    :param tac: where given, the text of a .tac that it runs from, with the standard ports and the
        domain localhost, which are replaced.
    :param store: the URL of the database; SQLite in the directory where none is given.
    :param tls: PEM files of key and certificate; serves TLS beside UDP and TCP.
    """

    def __init__(
        self,
        directory: str,
        *,
        options: Sequence[str] = (),
        settings: dict[str, Any] | None = None,
        tac: str = "",
        store: str = "sqlite:///simplestack.db",
        tls: tuple[str, str] | None = None,
    ) -> None:
        self.directory = Path(directory).absolute()
        self.directory.mkdir(parents=True, exist_ok=True)
        self.port, self.tls_port, self.xcap_port = free_port(), free_port(), free_port()
        self.store = store
        listen = [
            f"udp:{self.port}:interface=127.0.0.1",
            f"tcp:{self.port}:interface=127.0.0.1",
        ]
        if tls is not None:
            key, certificate = tls
            listen.append(
                f"tls:{self.tls_port}:interface=127.0.0.1:privateKey={key}:certKey={certificate}"
            )
        xcap = f"tcp:{self.xcap_port}:interface=127.0.0.1"
        if settings is not None:
            known: dict[str, Any] = {
                "domains": [DOMAIN],
                "listen": listen,
                "xcap": [xcap],
                "store": store,
                "notify_interval": 0,
            }
            tac = _TAC.format(settings=known | settings)
        elif tac:
            tac = re.sub(r"\b(udp|tcp):5060:", rf"\1:{self.port}:", tac)
            tac = tac.replace("tcp:8080:", f"tcp:{self.xcap_port}:").replace("localhost", DOMAIN)
        if tac:
            (self.directory / "simplestack.tac").write_text(tac)
            self._command = twistd("-n", "--pidfile=", "-y", "simplestack.tac")
        else:
            given = [f"--domain={DOMAIN}", f"--store={store}", f"--xcap={xcap}"]
            given += ["--notify-interval=0"]
            given += [f"--listen={place}" for place in listen]
            self._command = twistd("-n", "--pidfile=", "simplestack", *given, *options)
        self._log = self.directory / "server.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._copying = Thread()

    def become(self, user: int) -> None:
        """Let twistd change to a user and the group of the same number when it has its ports."""
        at = self._command.index("-n")
        self._command[at:at] = [f"--uid={user}", f"--gid={user}"]

    def start(self) -> None:
        """Start it and wait until it serves."""
        self._process = subprocess.Popen(
            self._command,
            cwd=self.directory,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        # By a pipe, because the server's own files may have a limit.
        self._copying = Thread(target=self._copy, args=(self._process.stdout,), daemon=True)
        self._copying.start()
        self.wait_until(self._answers, "the server serves")

    def _copy(self, output: IO[bytes]) -> None:
        with self._log.open("ab", buffering=0) as log, output:
            for line in output:
                log.write(line)

    def limit_files(self, octets: int) -> None:
        """Bound the octets that its files may have: at 0 the disk is full, so to say."""
        hard = resource.prlimit(self.pid, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (octets, hard))

    def _answers(self) -> bool:
        try:
            self.status()
        except (OSError, ValueError):
            return False
        return True

    def wait_until(self, true: Callable[[], object], what: str, patience: float = PATIENCE) -> None:
        """Wait until something is true; fails where it never is, or where the server ends."""
        end = time.monotonic() + patience
        while not true():
            if self._process is not None and self._process.poll() is not None:
                raise AssertionError(
                    f"the server ended with {self._process.returncode}:\n{self.said()}"
                )
            if time.monotonic() > end:
                raise AssertionError(f"not after {patience} s: {what}\n{self.said()[-3000:]}")
            time.sleep(0.02)

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    def status(self) -> dict[str, Any]:
        """What ``simplestack status`` shows."""
        # The name is relative since the path of a UNIX socket has little room.
        here = os.open(".", os.O_RDONLY)
        try:
            os.chdir(self.directory)
            return ask("simplestack.control")
        finally:
            os.fchdir(here)
            os.close(here)

    def said(self) -> str:
        """All that it has logged since its first start."""
        return self._log.read_text("utf-8", "replace")

    def command(
        self, *arguments: str, timeout: float = PATIENCE
    ) -> subprocess.CompletedProcess[str]:
        """Run ``simplestack`` with these arguments in the server's directory."""
        program = "import sys; from simplestack.command.main import main; sys.exit(main())"
        return subprocess.run(
            [sys.executable, "-c", program, *arguments],
            cwd=self.directory,
            env=environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    @property
    def store_url(self) -> str:
        """The URL of the database, as it is from any directory."""
        return self.store.replace("sqlite:///", f"sqlite:///{self.directory}/")

    def add_users(self, *names: str) -> None:
        """Make users whose password is their name with "-secret" after it."""
        table = CredentialTable(self.store_url)
        for name in names:
            table.put(credential(parse_uri(f"sip:{name}@{DOMAIN}"), f"{name}-secret"))

    def kill(self) -> None:
        """``kill -9``."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._copying.join()

    def stop(self) -> int:
        """SIGTERM; the exit status.  Does nothing to a server that has ended."""
        if self._process is None:
            return 0
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError(f"SIGTERM did not end it:\n{self.said()}") from None
        self._copying.join()
        return self._process.returncode
