"""Linphone as a peer: its console program, which watches its buddy list by one subscription."""

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tests.peers.requirement import required
from tests.peers.running import DOMAIN

__all__ = ["Linphone"]

#: Seconds that a change may take.
_PATIENCE = 20.0
_CONFIG = """\
[sip]
sip_port=-1
sip_tcp_port=-1
sip_tls_port=-1
default_proxy=0
rls_uri=sip:buddies@{domain}
[net]
friendlist_subscription_enabled=1
[proxy_0]
reg_proxy=<sip:127.0.0.1:{port};transport=tcp>
reg_route=<sip:127.0.0.1:{port};transport=tcp>
reg_identity=sip:{user}@{domain}
reg_expires=3600
reg_sendregister=1
publish=1
[auth_info_0]
username={user}
passwd={user}-secret
realm={domain}
domain={domain}
"""
_FRIEND = """\
[friend_{number}]
url="{user}" <sip:{user}@{domain}>
pol=accept
subscribe=1
"""


class Linphone:
    """One run: registers the user, publishes his state, and watches his friends."""

    def __init__(self, directory: str, user: str, port: int, friends: tuple[str, ...]) -> None:
        program = required("linphonec", "Debian's package linphone-cli")
        home = Path(directory).absolute()
        # Without the directory of its database it does not begin.
        (home / ".local/share/linphone").mkdir(parents=True)
        text = _CONFIG.format(user=user, port=port, domain=DOMAIN)
        for number, friend in enumerate(friends):
            text += _FRIEND.format(number=number, user=friend, domain=DOMAIN)
        (home / "linphonerc").write_text(text)
        self._said, self._log = home / "said", home / "log"
        with self._said.open("wb") as said:
            self._process = subprocess.Popen(
                [program, "-c", str(home / "linphonerc"), "-d", "6", "-l", str(self._log)],
                cwd=home,
                env=os.environ | {"HOME": str(home)},
                stdin=subprocess.PIPE,
                stdout=said,
                stderr=subprocess.STDOUT,
            )

    def said(self) -> str:
        """What it tells its user."""
        return self._said.read_text("utf-8", "replace")

    def log(self) -> str:
        """What it writes down, messages included."""
        return self._log.read_text("utf-8", "replace") if self._log.exists() else ""

    def wait_until(self, true: Callable[[], object], what: str) -> None:
        """Wait until something is true."""
        end = time.monotonic() + _PATIENCE
        while not true():
            if time.monotonic() > end or self._process.poll() is not None:
                raise AssertionError(f"{what}: not so\n{self.said()}\n{self.log()[-4000:]}")
            time.sleep(0.05)

    def quit(self) -> int:
        """Let it sign off; its exit status."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"quit\n")
        self._process.stdin.close()
        return self._process.wait(_PATIENCE)

    def stop(self) -> None:
        """End it, if it still runs."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        if self._process.stdin is not None and not self._process.stdin.closed:
            self._process.stdin.close()
