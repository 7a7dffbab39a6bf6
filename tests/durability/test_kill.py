"""``kill -9`` under load: whatever was acknowledged is there after a restart."""

import re
import signal
import time
from itertools import pairwise
from random import Random
from unittest import SkipTest

from sqlalchemy import create_engine, text
from twisted.trial.unittest import SynchronousTestCase

from tests.durability.load import PATIENCE, Load, User
from tests.peers.allowing import get_document
from tests.peers.probe import Dialog, Probe
from tests.peers.running import DOMAIN, Running
from tests.store.cluster import cluster

#: Seconds over which the server tells full state after a restart.
_WINDOW = 3


class KillTests(SynchronousTestCase):
    def serve(self, store: str = "sqlite:///simplestack.db") -> Running:
        """A server with twenty users who all let each other see their presence."""
        self.names = [f"user{number}" for number in range(20)]
        self.server = Running(
            self.mktemp(),
            settings={"default_handling": "allow", "restart_window": _WINDOW},
            store=store,
        )
        self.server.add_users(*self.names)
        self.addCleanup(self.server.stop)
        self.server.start()
        return self.server

    def survives(self, seconds: float) -> None:
        """Load, kill at a random moment, look into the database, restart, ask for everything."""
        seed = time.time_ns()
        random = Random(seed)
        load = Load(self.server, self.names, random)
        self.addCleanup(load.close)
        load.run(seconds + random.random())
        patience = time.monotonic() + PATIENCE
        # A machine that does other things as well takes longer for so many.
        while (load.acknowledged <= 200 or load.documents <= 3) and time.monotonic() < patience:
            load.run(0.2 + random.random() / 5)
        self.server.kill()
        load.settle()
        print(
            f"seed {seed}: {load.acknowledged} requests and {load.documents} documents"
            f" acknowledged, refused {load.refused}"
        )
        self.assertGreater(load.acknowledged, 200)
        self.assertGreater(load.documents, 3)
        self.assertEqual(load.refused, {})
        self.stored(load)

        known = {id(dialog): max(dialog.cseqs, default=0) for dialog in self.dialogs(load)}
        counts = {id(dialog): len(dialog.cseqs) for dialog in self.dialogs(load)}
        began = time.monotonic()
        self.server.start()
        served = time.monotonic() - began
        # Requests that come before it is their users' turn must not keep their watchers untold.
        for user in load.users[::2]:
            load.ask(user, "REGISTER", f"sip:{DOMAIN}", user.registration)
        told = load.pump(
            _WINDOW + 10,
            lambda: all(len(each.cseqs) > counts[id(each)] for each in self.dialogs(load)),
        )
        self.assertTrue(told, "every subscriber is told full state")
        firsts = []
        for dialog in self.dialogs(load):
            number = counts[id(dialog)]
            # RFC 3261 §12.2.1.1: CSeq rises, whatever the server remembers.
            self.assertGreater(dialog.cseqs[number], known[id(dialog)])
            self.assertTrue(all(low < high for low, high in pairwise(dialog.cseqs)))
            firsts.append(dialog.times[number])
        # Spread, so that it is no storm: the users are told one after another.
        self.assertGreater(max(firsts) - min(firsts), _WINDOW * 0.6)
        print(
            f"serves after {served:.2f} s; {len(firsts)} subscriptions told from"
            f" {min(firsts) - began:.2f} to {max(firsts) - began:.2f} s"
        )
        for user in load.users:
            self.full(load, user, counts)
            self.asked(load, user)

    def dialogs(self, load: Load) -> list[Dialog]:
        """All acknowledged subscriptions."""
        return [dialog for user in load.users for dialog, _ in user.dialogs]

    def stored(self, load: Load) -> None:
        """The database holds what was acknowledged, and not what was acknowledged as removed."""
        engine = create_engine(self.server.store_url.replace("postgresql:", "postgresql+psycopg:"))
        with engine.connect() as connection:
            uris = set(connection.scalars(text("SELECT uri FROM binding")))
            tags = set(connection.scalars(text("SELECT entity_tag FROM publication")))
            call_ids = set(connection.scalars(text("SELECT call_id FROM subscription")))
            bodies = {
                bytes(body)
                for body in connection.scalars(
                    text("SELECT body FROM document WHERE auid = 'resource-lists'")
                )
            }
        engine.dispose()
        for user in load.users:
            for uri, registered in user.contacts.items():
                if user.asking != "register" or uri not in user.perhaps:
                    self.assertEqual(uri in uris, registered, uri)
            if user.entity_tag and user.asking != "publish":
                self.assertIn(user.entity_tag, tags)
            for dialog, _ in user.dialogs:
                self.assertIn(dialog.call_id, call_ids)
            if user.document and (load.writing is None or load.writing[0] is not user):
                self.assertIn(user.document, bodies)

    def full(self, load: Load, user: User, counts: dict[int, int]) -> None:
        """The first NOTIFY after the restart brings full state, with a version that goes on."""
        for dialog, package in user.dialogs:
            number = counts[id(dialog)]
            notify = dialog.notified[number]
            body = notify.body.decode()
            self.assertTrue((notify.get("Subscription-State") or "").startswith("active"))
            if package == "presence":
                owner = next(each for each in load.users if each.aor == dialog.target)
                self.assertIn(f'entity="{owner.aor}"', body)
                if owner.note and owner.asking != "publish":
                    self.assertIn(owner.note, body)
                continue
            self.assertIn('state="full"', body)
            if number:
                before = dialog.notified[number - 1].body.decode()
                self.assertGreater(_version(body), _version(before))

    def asked(self, load: Load, user: User) -> None:
        """The server says so too."""
        response = load.ask(user, "REGISTER", f"sip:{DOMAIN}", user.registration)
        self.assertEqual(response.status, 200)
        bound = {str(contact.uri) for contact in response.contacts}
        for uri, registered in user.contacts.items():
            if user.asking != "register" or uri not in user.perhaps:
                self.assertEqual(uri in bound, registered)
        if user.entity_tag and user.asking != "publish":
            refresh = (("Event", "presence"), ("SIP-If-Match", user.entity_tag))
            response = load.ask(user, "PUBLISH", user.aor, user.apart(), *refresh)
            self.assertEqual(response.status, 200)
        for dialog, package in user.dialogs:
            fields = load.subscription(user, package)
            response = load.ask(user, "SUBSCRIBE", dialog.contact, dialog, *fields)
            self.assertEqual(response.status, 200)
        if user.document:
            status, body = get_document(self.server, user.name, "resource-lists")
            expected = {user.document}
            if load.writing is not None and load.writing[0] is user:
                expected.add(load.writing[1])
            self.assertEqual(status, 200)
            self.assertIn(body, expected)

    def test_sqlite(self) -> None:
        """With SQLite, killed twice."""
        self.serve()
        self.survives(1.0)
        self.survives(0.5)

    def test_postgresql(self) -> None:
        """With PostgreSQL."""
        own = cluster()
        if own is None:
            raise SkipTest("PostgreSQL's server is not installed")
        self.serve(own.clear())
        self.survives(0.7)

    def test_connections(self) -> None:
        """Subscribers whose connections broke are waited for, and told when they come again."""
        server = self.serve()
        watchers = [
            Probe(name, server.port, transport)
            for name, transport in (("user1", "tcp"), ("user2", "tcp"), ("user3", "udp"))
        ]
        for watcher in watchers:
            self.addCleanup(watcher.close)
            response, dialog = watcher.subscribe("user0")
            self.assertEqual(response.status, 200)
            watcher.told(dialog, 1)
        server.kill()
        for watcher in watchers[:2]:
            watcher.close()
        server.start()
        # Nobody listens at the contacts of the first two, so their NOTIFYs have no way now.
        watchers[2].told(watchers[2].only, 2)
        time.sleep(2.0)
        for watcher in watchers[:2]:
            dialog, before = watcher.only, watcher.only.cseqs[-1]
            watcher.connect()
            self.assertEqual(watcher.refresh(dialog).status, 200)
            watcher.told(dialog, 2)
            self.assertGreater(dialog.cseqs[1], before)
            self.assertIn('entity="sip:user0@', dialog.notified[1].body.decode())

    def test_clean_stop(self) -> None:
        """SIGTERM terminates nothing: no NOTIFY says so, and after a restart all goes on."""
        self.serve()
        load = Load(self.server, self.names, Random(1))
        self.addCleanup(load.close)
        load.run(0.5)
        self.assertTrue(load.pump(10, lambda: not any(user.asking for user in load.users)))
        # One by one, so that their NOTIFYs come before the end.
        load.pump(0.5, lambda: False)
        # Twisted ends by the signal that it was given.
        self.assertEqual(self.server.stop(), -signal.SIGTERM)
        load.pump(0.2, lambda: False)
        for dialog in self.dialogs(load):
            self.assertEqual(dialog.state, "active")
        self.stored(load)
        self.server.start()
        for user in load.users:
            self.asked(load, user)
        self.assertNotIn("Traceback", self.server.said())


def _version(document: str) -> int:
    found = re.search(r'version="(\d+)"', document)
    assert found is not None, document
    return int(found[1])
