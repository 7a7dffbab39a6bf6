"""Resources of other domains in lists: subscriptions of the server itself (RFC 4662 §4.5, RFC 6665)."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from simplestack.sip.message import Request
from tests.app.listworld import ACCEPT, ALICE, ListWorld, Row, Table, opened, pidf
from tests.event.test_nestedlist import TYPE
from tests.event.test_nestedlist import notify as list_body
from tests.event.test_nestedlist import shown as states_of
from tests.event.test_remotestate import reginfo, watcherinfo

BOB = "sip:bob@example.com"


class BackEndCase(SynchronousTestCase):
    settings: dict[str, Any] = {}

    def setUp(self) -> None:
        """Alice's list has Bob, and Zoe of another domain, whose server the test plays."""
        self.world = ListWorld(**self.settings)
        self.alice = self.world.phone("alice@example.com")
        self.bob = self.world.phone("bob@example.com")
        self.zoe = self.world.phone("zoe@remote.example")
        self.domain = self.zoe.address[0]
        self.aor = f"sip:zoe@{self.domain}"
        self.world.friends("bob", more=f'<entry uri="{self.aor}"/>')
        self.world.put_service()
        self.table = Table()

    def accept(self, expires: int = 3600, tag: str = "z1") -> None:
        """Let Zoe's server accept the next SUBSCRIBE."""
        to = f"<{self.aor}>;tag={tag}"
        headers = {"To": [to], "Contact": [self.zoe.contact], "Expires": [str(expires)]}
        self.zoe.replies.append((200, headers))

    def subscribes(self) -> list[Request]:
        """The SUBSCRIBEs that Zoe's server has got since."""
        found = [each for each in self.zoe.notifies() if each.method == "SUBSCRIBE"]
        self.zoe.inbox.clear()
        return found

    def notify(
        self,
        subscribe: Request,
        state: str = "active;expires=3600",
        note: str = "",
        number: int = 1,
        tag: str = "z1",
        event: str = "presence",
        media_type: str = "application/pidf+xml",
    ) -> int:
        """Send a NOTIFY from Zoe's server; the status of the answer."""
        headers = {
            "From": [f"<{self.aor}>;tag={tag}"],
            "To": subscribe.headers["From"],
            "Call-ID": subscribe.headers["Call-ID"],
            "CSeq": [f"{number} NOTIFY"],
            "Event": [event],
            "Subscription-State": [state],
            "Contact": [self.zoe.contact],
        }
        body = b""
        if note:
            headers["Content-Type"] = [media_type]
            body = pidf("zoe", note)
        uri = str(subscribe.contacts[0].uri)
        return self.zoe.ask("NOTIFY", uri, headers, body).status

    def take(self, seconds: float = 2.0) -> None:
        """Let Alice's table take what comes."""
        self.world.run(seconds)
        for notify in self.alice.notifies():
            if notify.method == "NOTIFY":
                self.table.take(notify)

    def row(self) -> Row:
        """What Alice's table has of Zoe."""
        row = self.table.rows[self.aor]
        assert row is not None
        return row

    def shown(self) -> tuple[str, str]:
        """State and reason of that."""
        return self.row()[:2]

    def subscribed(self) -> Request:
        """Alice subscribes to her list; the SUBSCRIBE that Zoe's server has accepted."""
        self.accept()
        self.assertEqual(self.world.subscribe(self.alice).status, 200)
        self.take()
        (subscribe,) = self.subscribes()
        return subscribe


class SubscribingTests(BackEndCase):
    def test_subscribed(self) -> None:
        """An ordinary SUBSCRIBE from the watcher, shown as NOTIFY has it."""
        subscribe = self.subscribed()
        self.assertEqual((subscribe.uri, subscribe.from_.uri.aor), (self.aor, ALICE))
        self.assertEqual(subscribe.get("Event"), "presence")
        self.assertEqual(
            subscribe.get("Accept"), "application/pidf+xml, multipart/related, application/rlmi+xml"
        )
        self.assertEqual(subscribe.get("Supported"), "eventlist")
        self.assertIsNone(subscribe.get("P-Asserted-Identity"))
        self.assertEqual(self.notify(subscribe, note="from afar"), 200)
        self.take(1.0)
        self.assertEqual(self.shown(), ("active", ""))
        self.assertIn(b"from afar", self.row().body)
        self.assertEqual(self.notify(subscribe, "pending;expires=60", number=2), 200)
        self.take()
        self.assertEqual(self.shown(), ("pending", ""))

    def test_unknown(self) -> None:
        """No instance while nothing is known (§4.5)."""
        self.zoe.replies.append((0, {}))
        self.assertEqual(self.world.subscribe(self.alice).status, 200)
        self.take()
        self.assertIsNone(self.table.rows[self.aor])

    def test_accepted(self) -> None:
        """The notifier there has it, and nothing is known yet: that is pending (RFC 6665 §4.1.3)."""
        subscribe = self.subscribed()
        self.assertEqual(self.shown(), ("pending", ""))
        self.notify(subscribe, note="x")
        self.take()
        self.accept()
        self.notify(subscribe, "terminated;reason=deactivated", number=2)
        self.take()
        self.assertEqual(self.shown(), ("active", ""))

    def test_notify_first(self) -> None:
        """A NOTIFY may come before the answer (RFC 6665 §4.4.1); others than its dialog get 481."""
        self.zoe.replies.append((0, {}))
        self.assertEqual(self.world.subscribe(self.alice).status, 200)
        self.take(0.1)
        (subscribe,) = self.subscribes()
        self.assertEqual(self.notify(subscribe, note="early"), 200)
        self.assertEqual(self.notify(subscribe, note="forked", tag="other"), 481)
        self.assertEqual(self.notify(subscribe, note="old", number=0), 500)
        subscribe.set("From", f"<{ALICE}>;tag=unknown")
        self.assertEqual(self.notify(subscribe, note="stray", number=2), 481)
        self.take(1.0)
        self.assertIn(b"early", self.row().body)

    def test_bad_notify(self) -> None:
        """A NOTIFY that can't be used is refused, and changes nothing."""
        subscribe = self.subscribed()
        self.assertEqual(self.notify(subscribe, note="x", event="reg"), 481)
        self.assertEqual(self.notify(subscribe, note="x", media_type="text/plain"), 415)
        self.assertEqual(self.notify(subscribe, note="x" * 40_000, number=2), 413)
        self.take()
        self.assertEqual(self.shown(), ("pending", ""))

    def test_sealed(self) -> None:
        """Who takes signed bodies gets those of others as they come (§7.3)."""
        self.accept()
        accept = f"{ACCEPT}, multipart/signed"
        self.assertEqual(self.world.subscribe(self.alice, Accept=accept).status, 200)
        self.take()
        (subscribe,) = self.subscribes()
        self.assertTrue(
            (subscribe.get("Accept") or "").startswith("application/pidf+xml, multipart/signed")
        )
        signed = 'multipart/signed;protocol="application/pkcs7-signature";micalg=sha1;boundary=b'
        self.assertEqual(self.notify(subscribe, note="sealed", media_type=signed), 200)
        self.world.run(2.0)
        _, parts = opened(self.alice.notifies()[-1])
        ((part, found),) = [(each.body, each.content_type) for each in parts.values()]
        self.assertEqual((found, part), (signed, pidf("zoe", "sealed")))

    def test_list(self) -> None:
        """A list elsewhere is shown whole, whatever part of it was told last (RFC 4662 §6)."""
        subscribe = self.subscribed()
        self.tell_list(subscribe, 1, 0, True, {"yves": pidf("yves", "one"), "zed": None})
        self.tell_list(subscribe, 2, 1, False, {"zed": pidf("zed", "two")})
        self.world.run(2.0)
        told = [part for each in self.alice.notifies() for part in opened(each)[1].values()]
        (part,) = [each for each in told if each.content_type.startswith("multipart/related")]
        self.assertEqual(
            states_of(part.content_type, part.body),
            {"yves": pidf("yves", "one"), "zed": pidf("zed", "two")},
        )
        # What is missed is asked for.
        self.tell_list(subscribe, 3, 7, False, {"zed": pidf("zed", "three")})
        self.accept()
        self.take(7.0)
        (refresh,) = self.subscribes()
        self.assertEqual(refresh.to.tag, "z1")
        self.tell_list(subscribe, 4, 8, True, {"zed": pidf("zed", "four")})
        self.take()
        self.assertIn(b"four", self.row().body)
        self.assertNotIn(b"yves", self.row().body)

    def tell_list(
        self,
        subscribe: Request,
        number: int,
        version: int,
        full: bool,
        states: dict[str, bytes | None],
    ) -> None:
        """Send a NOTIFY of a list from Zoe's server."""
        headers = {"Require": ["eventlist"], "Content-Type": [TYPE]}
        self.tell(subscribe, number, headers, list_body(version, full, states))

    def tell(
        self, subscribe: Request, number: int, more: dict[str, list[str]], body: bytes
    ) -> None:
        """Send a NOTIFY with these header fields from Zoe's server."""
        headers = {
            "From": [f"<{self.aor}>;tag=z1"],
            "To": subscribe.headers["From"],
            "Call-ID": subscribe.headers["Call-ID"],
            "CSeq": [f"{number} NOTIFY"],
            "Event": subscribe.headers["Event"],
            "Subscription-State": ["active;expires=3600"],
            "Contact": [self.zoe.contact],
        }
        uri = str(subscribe.contacts[0].uri)
        answer = self.zoe.ask("NOTIFY", uri, headers | more, body)
        self.assertEqual(answer.status, 200)

    def test_in_parts(self) -> None:
        """Packages whose documents are partial are passed on as wholes."""
        for event, media_type, make in (
            ("reg", "application/reginfo+xml", reginfo),
            ("presence.winfo", "application/watcherinfo+xml", watcherinfo),
        ):
            self.setUp()
            self.accept()
            accept = f"multipart/related, application/rlmi+xml, {media_type}"
            response = self.world.subscribe(self.alice, Event=event, Accept=accept)
            self.assertEqual(response.status, 200)
            self.take()
            (subscribe,) = self.subscribes()
            self.assertIn(media_type, subscribe.get("Accept") or "")
            kind = {"Content-Type": [media_type]}
            self.tell(subscribe, 1, kind, make(0, "full", {"a": True}))
            self.tell(subscribe, 2, kind, make(1, "partial", {"b": True}))
            self.tell(subscribe, 3, kind, make(2, "partial", {"c": True, "a": False}))
            self.take()
            for each in (b'id="a"', b'id="b"', b'id="c"', b'state="full"'):
                self.assertIn(each, self.row().body)

    def test_shared(self) -> None:
        """One subscription for a presentity and a watcher, whatever lists have it."""
        subscribe = self.subscribed()
        self.notify(subscribe, note="once")
        self.take()
        body = f'<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"><list><entry uri="{self.aor}"/></list></resource-lists>'
        response = self.world.subscribe(
            self.alice,
            ALICE,
            body.encode(),
            Require="recipient-list-subscribe",
            Content_Type="application/resource-lists+xml",
            Content_Disposition="recipient-list",
        )
        self.assertEqual(response.status, 200)
        self.world.run(1.0)
        (notify,) = self.alice.notifies()
        second = Table()
        second.take(notify)
        row = second.rows[self.aor]
        assert row is not None
        self.assertIn(b"once", row.body)
        self.assertEqual(self.subscribes(), [])
        self.assertEqual(len(self.world.core.lists.virtual.backend or ()), 1)  # type: ignore[union-attr]  # lists are served

    def test_refreshed(self) -> None:
        """It is refreshed in its dialog before it ends (§4.1.2.2)."""
        first = self.subscribed()
        self.notify(first, note="x")
        self.accept()
        self.take(3500)
        (refresh,) = self.subscribes()
        self.assertEqual(refresh.call_id, first.call_id)
        self.assertEqual((refresh.to.tag, refresh.cseq.number), ("z1", 2))

    def test_left(self) -> None:
        """It ends, after a while, when no list has it any more; who comes back finds it."""
        subscribe = self.subscribed()
        self.notify(subscribe, note="x")
        self.take()
        self.world.friends("bob")
        self.take()
        self.assertEqual(self.row().reason, "noresource")
        self.accept()
        self.take(20.0)
        self.assertEqual(self.subscribes(), [])
        self.take(20.0)
        (end,) = self.subscribes()
        self.assertEqual((end.get("Expires"), end.to.tag), ("0", "z1"))
        self.assertEqual(self.notify(subscribe, "terminated;reason=timeout", number=2), 200)
        self.assertEqual(len(self.world.core.lists.virtual.backend), 0)  # type: ignore[union-attr,arg-type]  # lists are served

    def test_restart(self) -> None:
        """After a restart it is made anew."""
        first = self.subscribed()
        self.notify(first, note="x")
        self.take()
        self.accept(tag="z2")
        self.world.restart()
        self.take(20.0)
        (second,) = self.subscribes()
        self.assertNotEqual(first.call_id, second.call_id)
        self.assertEqual(self.notify(first, note="x", number=2), 481)
        self.assertEqual(self.notify(second, note="after all", tag="z2"), 200)
        self.take()
        self.assertIn(b"after all", self.row().body)


class EndingTests(BackEndCase):
    def test_refused(self) -> None:
        """What is refused is terminated by a reason, until the list is refreshed a minute later."""
        for status, reason in ((404, "noresource"), (403, "rejected"), (489, "rejected")):
            self.setUp()
            self.zoe.replies.append((status, {}))
            self.assertEqual(self.world.subscribe(self.alice).status, 200)
            self.take()
            self.assertEqual(self.shown(), ("terminated", reason))
            self.take(3000)
            self.assertEqual(len(self.subscribes()), 1)

    def test_ended(self) -> None:
        """Each reason of a termination asks for something else (RFC 6665 §4.1.3)."""
        for state, seconds, shown in (
            ("terminated;reason=deactivated", 2, ("active", "")),
            ("terminated;reason=timeout", 2, ("active", "")),
            ("terminated;reason=probation;retry-after=50", 52, ("terminated", "probation")),
            ("terminated;reason=giveup", 7, ("terminated", "giveup")),
            ("terminated;reason=rejected", None, ("terminated", "rejected")),
            ("terminated;reason=noresource", None, ("terminated", "noresource")),
            ("terminated;reason=invariant", None, ("active", "")),
        ):
            self.setUp()
            subscribe = self.subscribed()
            self.notify(subscribe, note="x")
            self.take()
            self.accept(tag="z2")
            self.notify(subscribe, state, number=2)
            self.take(1.0)
            self.assertEqual(self.shown(), shown, state)
            if seconds is None:
                self.take(1000)
                self.assertEqual(self.subscribes(), [], state)
                continue
            self.take(seconds)
            self.assertEqual(len(self.subscribes()), 1, state)

    def test_lost(self) -> None:
        """A refresh that gets 481 is followed by a new subscription; other failures leave it."""
        first = self.subscribed()
        self.notify(first, note="x")
        self.zoe.replies.append((500, {}))
        self.zoe.replies.append((481, {}))
        self.accept(tag="z2")
        sent: list[Request] = []
        while len(sent) < 3:
            self.take(10)
            sent += self.subscribes()
        failed, lost, anew = sent
        self.assertEqual([each.to.tag for each in (failed, lost, anew)], ["z1", "z1", None])
        self.assertEqual(self.shown(), ("active", ""))
        self.assertEqual(self.notify(anew, note="again", tag="z2"), 200)
        self.take()
        self.assertIn(b"again", self.row().body)

    def test_no_notify(self) -> None:
        """Timer N: without a NOTIFY in 32 seconds it has failed (§4.1.2.4)."""
        self.subscribed()
        self.take(40.0)
        self.assertEqual(self.shown(), ("terminated", "probation"))
        self.accept(tag="z2")
        self.take(20.0)
        self.assertEqual(len(self.subscribes()), 1)

    def test_later(self) -> None:
        """503 with Retry-After: nothing is sent to the whole domain for so long (RFC 3261 §21.5.4)."""
        self.zoe.replies.append((503, {"Retry-After": ["100"]}))
        other = f"sip:yves@{self.domain}"
        self.world.friends("bob", more=f'<entry uri="{self.aor}"/>')
        self.world.subscribe(self.alice)
        self.take(2.0)
        self.world.friends("bob", more=f'<entry uri="{self.aor}"/><entry uri="{other}"/>')
        self.take(2.0)
        self.assertEqual(self.shown(), ("terminated", "probation"))
        row = self.table.rows[other]
        assert row is not None
        self.assertEqual(row.reason, "probation")
        self.take(90.0)
        self.assertEqual(len(self.subscribes()), 1)
        self.accept()
        self.take(15.0)
        self.assertGreaterEqual(len(self.subscribes()), 2)

    def test_too_brief(self) -> None:
        """423 makes the interval what the other server wants (§4.2.1.1)."""
        self.zoe.replies.append((423, {"Min-Expires": ["7200"]}))
        self.accept(7200)
        self.world.subscribe(self.alice)
        self.take()
        first, second = self.subscribes()
        self.assertEqual((first.get("Expires"), second.get("Expires")), ("3600", "7200"))
        self.assertEqual(second.cseq.number, 2)


class BoundsTests(BackEndCase):
    settings = {"max_remote": 1}

    def test_bound(self) -> None:
        """Over the bound a resource is terminated by probation."""
        other = f"sip:yves@{self.domain}"
        self.world.friends("bob", more=f'<entry uri="{self.aor}"/><entry uri="{other}"/>')
        self.subscribed()
        row = self.table.rows[other]
        assert row is not None
        self.assertEqual((row.state, row.reason), ("terminated", "probation"))


class OffTests(BackEndCase):
    settings = {"remote": False}

    def test_off(self) -> None:
        """Where it is switched off nothing is sent, and NOTIFY is no method that is served."""
        self.world.subscribe(self.alice)
        self.take()
        self.assertEqual(self.shown(), ("terminated", "noresource"))
        self.assertEqual(self.subscribes(), [])
        self.assertNotIn("NOTIFY", self.world.core.capabilities.methods)
