"""What a SUBSCRIBE asks for, and what of it is granted: RFC 6665 §4.2.1."""

from simplestack.event.limits import Limits
from tests.event.fakes import Agent, read, subscribe
from tests.event.test_subscription import Case


class TermsTests(Case):
    """RFC 6665 §4.2.1.1."""

    def test_event_parameters(self) -> None:
        """The id comes back in NOTIFY; unknown parameters are kept, not refused (§8.2.1)."""
        (notify,) = self.agent.subscribe(subscribe(event="presence;x=1;id=7;y"))
        self.assertEqual(read(notify).get("Event"), "presence;id=7")
        record = self.agent.one()
        self.assertEqual((record.event_id, record.event_params), ("7", ";x=1;y"))

    def test_expires(self) -> None:
        """Too brief is 423, too long is shortened, none is the package's default (§4.2.1.1)."""
        headers = self.refused(subscribe(expires=59), 423)
        self.assertEqual(headers, {"Min-Expires": "60"})
        for asked, granted in ((60, "60"), (10**12, "86400"), (None, "3600")):
            self.agent.subscribe(subscribe(expires=asked, call_id=f"call{asked}"))
            self.assertEqual(self.answer(), (200, granted))

    def test_an_hour_is_never_too_brief(self) -> None:
        """423 only if "smaller than one hour", whatever is configured (§4.2.1.1)."""
        self.agent = Agent(self.package, limits=Limits(min_expires=7200))
        self.assertEqual(self.refused(subscribe(expires=3599), 423), {"Min-Expires": "3600"})
        self.agent.subscribe(subscribe(expires=3600))
        self.assertEqual(self.answer(), (200, "3600"))

    def test_accept(self) -> None:
        """406 where no type of Accept can be made, with those that can (§4.1.2.1)."""
        for accept in ("text/plain", ""):
            headers = self.refused(subscribe(headers=[f"Accept: {accept}"]), 406)
            self.assertEqual(headers, {"Accept": "text/state"})
        self.agent.subscribe(subscribe(headers=["Accept: text/plain", "Accept: text/*"]))
        self.assertEqual(self.agent.one().accept, "text/plain, text/*")

    def test_contact(self) -> None:
        """Exactly one Contact that is a SIP URI (3261 §8.1.1.8)."""
        for contact in (None, "*", "<sip:a@b>, <sip:c@d>", "<tel:+1>"):
            self.refused(subscribe(contact=contact), 400)

    def test_body(self) -> None:
        """A body that isn't understood: 415, too large: 413, optional: ignored (3261 §8.2.3)."""
        self.assertEqual(self.refused(subscribe(body=b"x"), 415), {"Accept": ""})
        filters = ["Content-Type: application/simple-filter+xml"]
        self.refused(subscribe(body=b"x", headers=filters), 415)
        self.refused(subscribe(body=b"x" * 16385, headers=filters), 413)
        optional = [*filters, "Content-Disposition: render;handling=optional"]
        self.agent.subscribe(subscribe(body=b"x", headers=optional))
        self.assertEqual(self.agent.one().body, b"")

    def test_coded_body(self) -> None:
        """RFC 3261 §8.2.3: a body in a coding that is not understood is refused with 415, and "if
        there was a problem with the encoding" with Accept-Encoding; an optional one is ignored.
        """
        self.package.subscribe_types = ("text/filter",)  # type: ignore[attr-defined]  # optional
        headers = ["Content-Type: text/filter", "Content-Encoding: gzip"]
        refused = self.refused(subscribe(body=b"x", headers=headers), 415)
        self.assertEqual(refused, {"Accept-Encoding": "identity"})
        optional = [*headers, "Content-Disposition: render;handling=optional"]
        self.agent.subscribe(subscribe(body=b"x", headers=optional))
        self.assertEqual(self.agent.one().body, b"")
        plain = ["Content-Type: text/filter", "Content-Encoding: identity"]
        self.agent.subscribe(subscribe(body=b"x", headers=plain, call_id="plain"))
        self.assertEqual(self.answer()[0], 200)

    def test_body_understood(self) -> None:
        """A package may understand bodies; a refresh without one keeps it (4660 §5.2.2)."""
        self.package.subscribe_types = ("text/filter",)  # type: ignore[attr-defined]  # optional
        headers = ["Content-Type: text/filter"]
        self.agent.subscribe(subscribe(body=b"x", headers=headers))
        record = self.agent.one()
        self.assertEqual((record.content_type, record.body), ("text/filter", b"x"))
        tag = record.local_tag
        self.agent.subscribe(subscribe(to_tag=tag, cseq=2))
        self.assertEqual(self.agent.one().body, b"x")
        self.agent.subscribe(subscribe(to_tag=tag, cseq=3, body=b"y", headers=headers))
        self.assertEqual(self.agent.one().body, b"y")
