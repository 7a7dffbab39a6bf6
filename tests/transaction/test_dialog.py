"""Dialogs (RFC 3261 §12, RFC 6665)."""

from twisted.trial.unittest import SynchronousTestCase

from simplestack.sip.errors import SIPError
from simplestack.sip.message import Request, Response
from simplestack.sip.uri import parse_uri
from simplestack.transaction.dialog import (
    Dialog,
    DialogId,
    check_sequence,
    from_notify,
    id_at_server,
    id_of_response,
    refreshed_target,
    routing,
    uac,
    uas,
    without_tag,
)
from tests.transaction.messages import request

CONTACT = "Contact: <sip:alice@192.0.2.2:5062;transport=tcp>\r\n"
ROUTES = "Record-Route: <sip:p2.example.com;lr>\r\nRecord-Route: <sip:p1.example.com;lr;x=y>\r\n"


def subscribe(more: str = CONTACT, **parts: str) -> Request:
    """A SUBSCRIBE."""
    return request("SUBSCRIBE", more=more, **parts)


def accepted(message: Request, more: tuple[tuple[str, str], ...] = ()) -> Response:
    """The 200 to it."""
    response = message.response(200, to_tag="b", record_route=True)
    for name, value in (("Contact", "<sip:bob@192.0.2.1>"), *more):
        response.add(name, value)
    return response


class ServerSideTests(SynchronousTestCase):
    """The dialog of a notifier (RFC 3261 §12.1.1)."""

    def test_state(self) -> None:
        """Everything comes from the request (RFC 3261 §12.1.1)."""
        message = subscribe(
            CONTACT + ROUTES, from_='"A, B" <sip:alice@example.com>;tag=a', cseq="7 SUBSCRIBE"
        )
        self.assertEqual(
            uas(message, "local", 41),
            Dialog(
                call_id="call",
                local_tag="local",
                remote_tag="a",
                local_uri="<sip:bob@example.com>",
                remote_uri='"A, B" <sip:alice@example.com>',
                remote_target="sip:alice@192.0.2.2:5062;transport=tcp",
                route_set="<sip:p2.example.com;lr>, <sip:p1.example.com;lr;x=y>",
                local_cseq=41,
                remote_cseq=7,
                secure=False,
            ),
        )

    def test_secure(self) -> None:
        """Secure if over TLS and to a SIPS URI, both (RFC 3261 §12.1.1)."""
        for uri, tls, expected in (
            ("sips:bob@example.com", True, True),
            ("sips:bob@example.com", False, False),
            ("sip:bob@example.com", True, False),
        ):
            self.assertIs(uas(subscribe(uri=uri), "t", secure=tls).secure, expected)

    def test_contact(self) -> None:
        """There is exactly one SIP or SIPS Contact (RFC 3261 §8.1.1.8)."""
        for more in ("", CONTACT + CONTACT, "Contact: *\r\n", "Contact: <tel:+1>\r\n"):
            error = self.assertRaises(SIPError, uas, subscribe(more), "t")
            self.assertEqual(error.status, 400, more)

    def test_contact_headers_are_left_out(self) -> None:
        """Headers of a Contact URI are not for a Request-URI (RFC 3261 §19.1.1)."""
        dialog = uas(subscribe("Contact: <sip:a@192.0.2.2?Subject=x>\r\n"), "t")
        self.assertEqual(dialog.remote_target, "sip:a@192.0.2.2")

    def test_peer_without_tag(self) -> None:
        """A missing From tag is null, and is left out of requests (RFC 3261 §12.1.1, §12.2.1.1)."""
        dialog = uas(subscribe(from_="<sip:alice@example.com>"), "t")
        self.assertEqual(dialog.remote_tag, "")
        _, notify = dialog.request("NOTIFY")
        self.assertEqual(notify.get("To"), "<sip:alice@example.com>")
        self.assertIsNone(notify.to.tag)

    def test_matching(self) -> None:
        """To tag is the local one, From tag the remote one (RFC 3261 §12)."""
        dialog = uas(subscribe(), "local")
        again = subscribe(to="<sip:bob@example.com>;tag=local")
        self.assertEqual(id_at_server(again), dialog.id)
        self.assertEqual(dialog.id, DialogId("call", "local", "a"))
        self.assertIsNone(id_at_server(subscribe()))


class ClientSideTests(SynchronousTestCase):
    """The dialog of a subscriber (RFC 3261 §12.1.2)."""

    def test_state(self) -> None:
        """The route set is reversed, the target is the Contact of the response (§12.1.2)."""
        message = subscribe(CONTACT + ROUTES, cseq="7 SUBSCRIBE")
        dialog = uac(message, accepted(message))
        self.assertEqual(
            dialog,
            Dialog(
                call_id="call",
                local_tag="a",
                remote_tag="b",
                local_uri="<sip:alice@example.com>",
                remote_uri="<sip:bob@example.com>",
                remote_target="sip:bob@192.0.2.1",
                route_set="<sip:p1.example.com;lr;x=y>, <sip:p2.example.com;lr>",
                local_cseq=7,
                remote_cseq=None,
            ),
        )

    def test_both_ends_agree(self) -> None:
        """What one end calls local the other calls remote (RFC 3261 §12)."""
        message = subscribe()
        mine, theirs = uac(message, accepted(message)), uas(message, "b")
        self.assertEqual(mine.id, DialogId(theirs.call_id, theirs.remote_tag, theirs.local_tag))
        self.assertEqual(id_of_response(accepted(message)), mine.id)
        _, notify = theirs.request("NOTIFY")
        self.assertEqual(id_at_server(notify), mine.id)

    def test_notify_before_the_response(self) -> None:
        """A NOTIFY makes the dialog as well; its routes stand in order (RFC 6665 §4.4.1)."""
        message = subscribe(cseq="7 SUBSCRIBE")
        notify = request(
            "NOTIFY",
            from_="<sip:bob@example.com>;tag=b",
            to="<sip:alice@example.com>;tag=a",
            cseq="1 NOTIFY",
            more="Contact: <sip:bob@192.0.2.1>\r\n" + ROUTES,
        )
        dialog = from_notify(message, notify)
        self.assertEqual(dialog.id, uac(message, accepted(message)).id)
        self.assertEqual((dialog.local_cseq, dialog.remote_cseq), (7, 1))
        self.assertEqual(dialog.route_set, "<sip:p2.example.com;lr>, <sip:p1.example.com;lr;x=y>")


class RequestTests(SynchronousTestCase):
    """Requests in a dialog (RFC 3261 §12.2.1.1)."""

    def test_fields(self) -> None:
        """Tags, URIs, Call-ID and a CSeq that is one higher (RFC 3261 §12.2.1.1)."""
        dialog, notify = uas(subscribe(CONTACT + ROUTES), "b", 4).request("NOTIFY")
        self.assertEqual(dialog.local_cseq, 5)
        self.assertEqual(notify.uri, "sip:alice@192.0.2.2:5062;transport=tcp")
        self.assertEqual(
            notify.headers,
            {
                "Max-Forwards": ["70"],
                "Route": ["<sip:p2.example.com;lr>", "<sip:p1.example.com;lr;x=y>"],
                "From": ["<sip:bob@example.com>;tag=b"],
                "To": ["<sip:alice@example.com>;tag=a"],
                "Call-ID": ["call"],
                "CSeq": ["5 NOTIFY"],
            },
        )

    def test_ack_keeps_the_number(self) -> None:
        """ACK and CANCEL have the number of their request (RFC 3261 §12.2.1.1)."""
        dialog = uas(subscribe(), "b", 4)
        after, ack = dialog.request("ACK", 4)
        self.assertEqual((after, ack.get("CSeq")), (dialog, "4 ACK"))

    def test_numbers_end(self) -> None:
        """CSeq never wraps (erratum to RFC 3261 §12.2.1.1)."""
        dialog = uas(subscribe(), "b", 2**32 - 1)
        self.assertRaises(SIPError, dialog.request, "NOTIFY")

    def test_loose_route(self) -> None:
        """With lr: the target in the Request-URI, all routes in order (RFC 3261 §12.2.1.1)."""
        way = routing("sip:a@h", "<sip:p1;lr>, <sip:p2>")
        self.assertEqual((way.request_uri, way.routes), ("sip:a@h", ("<sip:p1;lr>", "<sip:p2>")))
        self.assertEqual(way.next_hop, parse_uri("sip:p1;lr"))

    def test_strict_route(self) -> None:
        """Without lr: the first route in the Request-URI, without what is not allowed there, the
        rest in Route, the target last (RFC 3261 §12.2.1.1).
        """
        way = routing("sip:a@h", "<sip:p1;method=INVITE;x=y?Subject=z>, <sip:p2;lr>")
        self.assertEqual(way.request_uri, "sip:p1;x=y")
        self.assertEqual(way.routes, ("<sip:p2;lr>", "<sip:a@h>"))
        self.assertEqual(way.next_hop.host, "p1")

    def test_no_routes(self) -> None:
        """Without a route set the target alone counts (RFC 3261 §12.2.1.1)."""
        self.assertEqual(routing("sip:a@h", ""), ("sip:a@h", (), parse_uri("sip:a@h")))

    def test_without_tag(self) -> None:
        """Other parameters stay; an addr-spec gets brackets (RFC 3261 §20)."""
        message = request(from_="sip:alice@example.com;x=y;tag=a")
        self.assertEqual(without_tag(message.from_), "<sip:alice@example.com>;x=y")


class OrderTests(SynchronousTestCase):
    """Requests of the peer (RFC 3261 §12.2.2)."""

    def test_sequence(self) -> None:
        """A lower number gets 500, a gap is no error (RFC 3261 §12.2.2)."""
        check_sequence(None, 0)
        check_sequence(5, 5)
        check_sequence(5, 100)
        error = self.assertRaises(SIPError, check_sequence, 5, 4)
        self.assertEqual(error.status, 500)

    def test_refresh(self) -> None:
        """A request moves the number and the target; the route set stays (§12.2.2)."""
        dialog = uas(subscribe(CONTACT + ROUTES, cseq="7 SUBSCRIBE"), "b")
        moved = dialog.received(subscribe("Contact: <sip:alice@192.0.2.9>\r\n", cseq="9 SUBSCRIBE"))
        expected = dialog._replace(remote_cseq=9, remote_target="sip:alice@192.0.2.9")
        self.assertEqual(moved, expected)
        self.assertRaises(SIPError, moved.received, subscribe(cseq="8 SUBSCRIBE"))

    def test_no_contact_no_refresh(self) -> None:
        """The Contact counts "if present", and in target refresh requests (§12.2.2)."""
        dialog = uas(subscribe(cseq="7 SUBSCRIBE"), "b")
        same = dialog.received(subscribe("", cseq="8 SUBSCRIBE"))
        self.assertEqual(same.remote_target, dialog.remote_target)
        other = request("INFO", cseq="9 INFO", more="Contact: <sip:x@y>\r\n")
        self.assertEqual(dialog.received(other, refresh=False).remote_target, dialog.remote_target)
        self.assertEqual(refreshed_target(other, "sip:z"), "sip:x@y")

    def test_answered(self) -> None:
        """A 2xx to a target refresh request of ours moves the target (RFC 3261 §12.2.1.2)."""
        message = subscribe()
        dialog = uac(message, accepted(message))
        response = message.response(200, to_tag="b")
        response.set("Contact", "<sip:bob@192.0.2.77>")
        self.assertEqual(dialog.answered(response).remote_target, "sip:bob@192.0.2.77")
        response.status = 481
        self.assertIs(dialog.answered(response), dialog)
