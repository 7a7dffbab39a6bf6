"""Mistakes at the start: one line on stderr that says what is wrong, and exit status 2."""

import os
import socket
import subprocess
from contextlib import closing
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from tests.net.doubles import Authority
from tests.peers.probe import Probe
from tests.peers.running import ROOT, Running, environment, twistd
from tests.ports import free_port


class MistakeTests(SynchronousTestCase):
    def setUp(self) -> None:
        """A directory to start in, and free ports."""
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.port, self.xcap_port = free_port(), free_port()

    def refused(self, words: str, *command: str) -> None:
        """The program ends at once with status 2 and one line with these words."""
        done = subprocess.run(
            twistd("-n", "--pidfile=", *command),
            cwd=self.directory,
            env=environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        shown = f"{command}: {done.stderr}{done.stdout}"
        self.assertEqual(done.returncode, 2, shown)
        self.assertEqual(done.stderr.count("\n"), 1, shown)
        self.assertTrue(done.stderr.startswith("simplestack: "), shown)
        self.assertIn(words, done.stderr)
        self.assertNotIn("Traceback", shown)

    def plugin(self, words: str, *options: str) -> None:
        """So it is with ``twistd simplestack`` and these options."""
        places = [
            f"--listen=udp:{self.port}:interface=127.0.0.1",
            f"--listen=tcp:{self.port}:interface=127.0.0.1",
            f"--xcap=tcp:{self.xcap_port}:interface=127.0.0.1",
        ]
        self.refused(words, "simplestack", *places, *options)

    def tac(self, words: str, old: str = "", new: str = "") -> None:
        """So it is with etc/simplestack.tac after a change."""
        text = (ROOT / "etc" / "simplestack.tac").read_text("utf-8")
        text = text.replace("cp:5060", f"cp:{self.port}").replace("dp:5060", f"dp:{self.port}")
        text = text.replace(":8080", f":{self.xcap_port}")
        self.assertIn(old, text)
        (self.directory / "simplestack.tac").write_text(text.replace(old, new, 1))
        self.refused(words, "-y", "simplestack.tac")

    def test_taken(self) -> None:
        """A port is taken, by UDP, by TCP, or that of XCAP."""
        for port, kind in (
            (self.port, socket.SOCK_DGRAM),
            (self.port, socket.SOCK_STREAM),
            (self.xcap_port, socket.SOCK_STREAM),
        ):
            with closing(socket.socket(type=kind)) as other:
                other.bind(("127.0.0.1", port))
                if kind == socket.SOCK_STREAM:
                    other.listen()
                self.plugin("another program has the port")
                self.tac("another program has the port")

    def test_privileges(self) -> None:
        """``twistd --uid``: ports are opened before, files are made after privileges are dropped."""
        if os.geteuid() != 0:
            raise SkipTest("only root can drop privileges")
        # Not below the directory of the tests, which may be in one that nobody else may enter.
        place = Path(mkdtemp())
        self.addCleanup(rmtree, place)
        place.chmod(0o777)
        server = Running(str(place))
        server.become(65534)
        self.addCleanup(server.stop)
        server.start()
        for name in ("simplestack.db", "simplestack.control"):
            self.assertEqual((place / name).stat().st_uid, 65534)
        server.add_users("alice")
        with Probe("alice", server.port) as alice:
            self.assertEqual(alice.register().status, 200)

    def test_store(self) -> None:
        """The URL of the store is none, or names what can't be opened."""
        (self.directory / "text.db").write_text("this is no database\n" * 100)
        for url, words in (
            ("nonsense", "sqlite:///FILE"),
            ("mysql://host/db", "sqlite:///FILE"),
            ("sqlite://", "sqlite:///FILE"),
            ("sqlite:////nowhere/x.db", "/nowhere"),
            ("sqlite:///text.db", "text.db"),
            ("postgresql://nobody@127.0.0.1:1/x", "check the URL"),
        ):
            self.plugin(words, f"--store={url}")
        self.tac("/nowhere", "sqlite:///simplestack.db", "sqlite:////nowhere/x.db")
        self.tac("sqlite:///FILE", "sqlite:///simplestack.db", "nonsense")

    def test_options(self) -> None:
        """An option is not known, or its value can't be used."""
        for option, words in (
            ("--nonsense", "--nonsense"),
            ("--domain=a b", "'a b' is not a domain"),
            ("--roles=presense", "registrar,presence,reg,winfo,xcap,lists"),
            ("--roles=", "no role is left"),
            ("--digest=SHA-1", "SHA-512-256,SHA-256,MD5"),
            ("--digest=", "SHA-512-256,SHA-256,MD5"),
            ("--listen=foo:1", "udp:, tcp: or tls:"),
            ("--listen=udp:99999", "65535"),
            ("--listen=udp:0:interface=192.0.2.77", "192.0.2.77"),
            ("--domain=bücher.example", "xn--bcher-kva.example"),
            ("--notify-interval=soon", "'soon'; it takes a whole number of seconds"),
            ("--xcap=nonsense:1", "nonsense"),
            ("--xcap=tcp:0:interface=::1", r"write a colon in a value as \:"),
            ("--xcap=ssl:0:privateKey=no.pem:certKey=no.pem", "no.pem is not there"),
            ("--xcap=tcp:0:interface=192.0.2.77", "192.0.2.77"),
            ("--xcap-root=ftp:x", "https:"),
            ("--control=/nowhere/control", "there is no directory /nowhere: create it"),
            (f"--control={'x' * 150}", "use a short path"),
            ("--control=.", "something else is there: remove it"),
            ("stray", "'stray' is not an option"),
        ):
            self.plugin(words, option)

    def test_control(self) -> None:
        """Two servers in one directory would be two on one database: the second is told of it."""
        server = Running(str(self.directory))
        self.addCleanup(server.stop)
        server.start()
        self.plugin("another simplestack has it: stop that, or choose another by --control")
        # The first one has noticed nothing.
        self.assertEqual(server.status()["listening"][0], f"udp 127.0.0.1:{server.port}")

    def test_tac(self) -> None:
        """The same in the .tac: values, names of settings, and names of plug-ins."""
        self.tac("'a b' is not a domain", 'domains=["localhost"]', 'domains=["a b"]')
        self.tac("domians", "domains=", "domians=")
        self.tac("'onion'", '# composition="union"', 'composition="onion"')
        self.tac("udp:, tcp: or tls:", '"udp:', '"foo:')

    def test_tls(self) -> None:
        """Key or certificate is missing, unreadable, no PEM, or not each other's."""
        authority = Authority(str(self.directory))
        key, certificate = authority.issue("localhost")
        other, _ = authority.issue("127.0.0.1")
        text = self.directory / "text.pem"
        text.write_text("this is no key\n")
        folder = self.directory / "folder"
        folder.mkdir()
        for private, public, words in (
            ("/nowhere.key", certificate, "/nowhere.key"),
            (key, "/nowhere.pem", "/nowhere.pem"),
            # A directory, because root may read every file.
            (str(folder), certificate, "folder"),
            (str(text), certificate, "text.pem"),
            (key, str(text), "text.pem"),
            (other, certificate, "127.0.0.1.key"),
        ):
            place = f"tls:0:interface=127.0.0.1:privateKey={private}:certKey={public}"
            self.plugin(words, f"--listen={place}")
        xcap = f"ssl:0:interface=127.0.0.1:privateKey=/nowhere.key:certKey={certificate}"
        self.plugin("/nowhere.key", f"--xcap={xcap}")
