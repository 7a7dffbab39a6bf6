"""baresip as a peer: a softphone for one user, driven by its control socket."""

import json
import re
import select
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tests.peers.requirement import required
from tests.peers.running import DOMAIN
from tests.ports import free_port

__all__ = ["Baresip"]

#: Seconds after which it ends by itself.
_LIMIT = 60
#: Seconds that a command or a change may take.
_PATIENCE = 15.0

_CONFIG = """\
poll_method epoll
sip_listen 127.0.0.1:0
{authority}
module_path {modules}
module_app account.so
module_app contact.so
module_app menu.so
module_app presence.so
module_app ctrl_tcp.so
ctrl_tcp_listen 127.0.0.1:{control}
module_tmp uuid.so
"""
_ACCOUNT = (
    "<sip:{user}@{domain}>;auth_user={user};auth_pass={user}-secret;"
    'outbound="sip:127.0.0.1:{port};transport={transport}";regint=600;pubint=600\n'
)
_CONTACT = '"{user}" <sip:{user}@{domain}>;presence=p2p\n'
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class Baresip:
    """One run: registers the user, publishes his state, and watches his contacts.

    :param directory: for its configuration.
    :param port: of the server, for this transport: udp, tcp or tls.
    :param contacts: the users that are watched.
    :param authority: PEM file of the authority that signed the server's certificate, for tls.
    """

    def __init__(
        self,
        directory: str,
        user: str,
        port: int,
        transport: str,
        contacts: tuple[str, ...] = (),
        authority: str = "",
    ) -> None:
        program = required("baresip", "Debian's package baresip")
        self._control = free_port()
        self._connection: socket.socket | None = None
        place = Path(directory).absolute()
        place.mkdir(parents=True)
        (place / "config").write_text(
            _CONFIG.format(
                modules=_modules(),
                control=self._control,
                authority=f"sip_cafile {authority}" if authority else "",
            )
        )
        (place / "accounts").write_text(
            _ACCOUNT.format(user=user, domain=DOMAIN, port=port, transport=transport)
        )
        (place / "contacts").write_text(
            "".join(_CONTACT.format(user=contact, domain=DOMAIN) for contact in contacts)
        )
        self._said = place / "said"
        with self._said.open("wb") as said:
            self._process = subprocess.Popen(
                # With -s it writes down each message.
                [program, "-f", str(place), "-s", "-4", "-t", str(_LIMIT)],
                cwd=place,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
            )

    def said(self) -> str:
        """What it has written, messages included."""
        return _COLOUR.sub("", self._said.read_text("utf-8", "replace"))

    def command(self, name: str) -> str:
        """What it shows after a command, such as ``contacts``."""
        connection = self._connected()
        netstring = json.dumps({"command": name, "params": "", "token": name}).encode()
        connection.sendall(b"%d:%b," % (len(netstring), netstring))
        answer = b""
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end and select.select([connection], [], [], _PATIENCE)[0]:
            part = connection.recv(65536)
            if not part:
                break
            answer += part
            # Events come by the same socket; each of them is a netstring too.
            for found in re.findall(rb"\d+:(\{.*?\}),(?=\d|$)", answer, re.DOTALL):
                told = json.loads(found)
                if told.get("token") == name:
                    return _COLOUR.sub("", str(told.get("data", "")))
        raise AssertionError(f"baresip does not answer {name}:\n{self.said()[-2000:]}")

    def _connected(self) -> socket.socket:
        end = time.monotonic() + _PATIENCE
        while self._connection is None:
            try:
                self._connection = socket.create_connection(("127.0.0.1", self._control), 5)
            except OSError:
                if time.monotonic() > end or self._process.poll() is not None:
                    raise AssertionError(f"baresip does not run:\n{self.said()}") from None
                time.sleep(0.05)
        return self._connection

    def shows(self, user: str) -> str:
        """The presence that it shows of a contact: Unknown, Online, Offline or Busy."""
        for line in self.command("contacts").splitlines():
            if f"sip:{user}@" in line:
                return line.replace(">", " ", 1).split()[0]
        return ""

    def wait_until(self, true: Callable[[], object], what: str) -> None:
        """Wait until something is true; fails where it never is."""
        end = time.monotonic() + _PATIENCE
        while not true():
            if time.monotonic() > end or self._process.poll() is not None:
                raise AssertionError(f"not so: {what}:\n{self.said()[-6000:]}")
            time.sleep(0.1)

    def quit(self) -> int:
        """Let it sign off and end; its exit status."""
        connection = self._connected()
        netstring = json.dumps({"command": "quit", "params": "", "token": "quit"}).encode()
        connection.sendall(b"%d:%b," % (len(netstring), netstring))
        status = self._process.wait(_PATIENCE)
        self.stop()
        return status

    def stop(self) -> None:
        """End it, if it still runs."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


def _modules() -> str:
    for place in ("/usr/lib/baresip/modules", "/usr/local/lib/baresip/modules"):
        if Path(place).is_dir():
            return place
    raise AssertionError("baresip is installed, but its modules are nowhere")
