"""A server that is killed between a change of documents and its NOTIFY (RFC 5875 §4.7)."""

import time
from random import Random

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from simplestack.documents.xcapdiff import DocumentChange, parse_xcap_diff
from tests.bench.account import Account
from tests.bench.xcap import Client, Requests
from tests.peers.probe import Dialog, Probe
from tests.peers.running import Running
from tests.store.cluster import cluster

LISTS = "application/resource-lists+xml"
HOME = "resource-lists/users/sip:alice@example.com/"
SEEN = (
    f'<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"><list><entry uri="{HOME}"/>'
    "</list></resource-lists>"
).encode()


class Write(Requests):
    """PUT or DELETE of one document."""

    statuses = (200, 201)
    content_type = LISTS.encode()

    def __init__(self, method: bytes, name: str, text: str = "") -> None:
        self.method = method
        self._path = f"/{HOME}{name}".encode()
        self._body = SEEN.replace(b"<list>", f'<list name="{text}">'.encode())

    def path(self, account: Account) -> bytes:
        """The document."""
        return self._path

    def body(self, account: Account, number: int) -> bytes:
        """A document that no other is like; none to delete it."""
        return self._body if self.method == b"PUT" else b""


class MissedTests(SynchronousTestCase):
    """Nothing that was acknowledged stays untold."""

    def setUp(self) -> None:
        """A seed that a failure can be repeated with."""
        self.seed = time.time_ns()
        self.random = Random(self.seed)

    def write(self, method: bytes, name: str) -> None:
        """One change, which is acknowledged."""
        self.client.adopt(Write(method, name, str(self.random.random())))
        self.client.send()
        while not self.client.take():
            pass
        if method == b"DELETE":
            self.documents.pop(name)
        else:
            head = self.client.response.partition(b"\r\n\r\n")[0].decode()
            self.documents[name] = head.partition('ETag: "')[2].partition('"')[0]

    def change(self) -> None:
        """One change of some document."""
        name = self.random.choice("abcdef")
        delete = name in self.documents and self.random.random() < 0.5
        self.write(b"DELETE" if delete else b"PUT", name)

    def told(self, dialog: Dialog) -> tuple[dict[str, str], dict[str, str]]:
        """Of the last NOTIFY: the documents there are, and those that are not, with their tags."""
        there, gone = {}, {}
        for change in parse_xcap_diff(dialog.body.encode()).changes:
            assert isinstance(change, DocumentChange)
            name = change.selector.removeprefix(HOME)
            if change.new_etag is None:
                gone[name] = change.previous_etag or ""
            else:
                there[name] = change.new_etag
        return there, gone

    def survives(self, store: str) -> None:
        """Changes, ``kill -9``, a start: the first NOTIFY says what is there, and what went."""
        server = Running(self.mktemp(), store=store, settings={"restart_window": 0})
        self.addCleanup(server.stop)
        server.start()
        server.add_users("alice")
        self.documents: dict[str, str] = {}
        with Probe("alice", server.port) as alice:
            account = Account(0, "alice", "example.com", "alice-secret")
            self.client = Client(account, server.xcap_port)
            for name in "abcd":
                self.write(b"PUT", name)
            response, dialog = alice.subscribe("alice", "xcap-diff", body=SEEN, content_type=LISTS)
            self.assertEqual(response.status, 200)
            self.assertTrue(alice.listen(10, lambda: bool(dialog.notified)))
            self.assertEqual(self.told(dialog), (self.documents, {}))
            for _ in range(3):
                known = dict(self.documents)
                highest = max(dialog.cseqs)
                for _ in range(self.random.randrange(1, 8)):
                    # She does not listen: what she is sent is lost with the server.
                    self.change()
                self.client.socket.close()
                server.kill()
                server.start()
                self.client = Client(account, server.xcap_port)
                block = highest + 50
                self.assertTrue(
                    alice.listen(20, lambda b=block: max(dialog.cseqs) > b),  # type: ignore[misc]  # b is an int
                    f"seed {self.seed}",
                )
                there, gone = self.told(dialog)
                self.assertEqual(there, self.documents, f"seed {self.seed}")
                self.assertLessEqual(known.keys() - there.keys(), gone.keys(), f"seed {self.seed}")
                self.assertFalse(gone.keys() & there.keys(), f"seed {self.seed}")
            self.client.socket.close()

    def test_sqlite(self) -> None:
        """SQLite."""
        self.survives("sqlite:///simplestack.db")

    def test_postgresql(self) -> None:
        """PostgreSQL."""
        found = cluster()
        if found is None:
            raise SkipTest("PostgreSQL is not installed")
        self.survives(found.clear())
