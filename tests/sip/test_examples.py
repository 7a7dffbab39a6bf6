"""Every complete example message of the RFCs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from simplestack.sip.fields import (
    parse_challenge,
    parse_credentials,
    parse_cseq,
    parse_event,
    parse_media_type,
    parse_name_addr,
    parse_name_addrs,
    parse_subscription_state,
    parse_vias,
)
from simplestack.sip.framer import StreamFramer
from simplestack.sip.message import Request, Response, parse_message, validate_request
from simplestack.sip.uri import parse_uri

FOLDER = Path(__file__).parent.parent / "data" / "sip_examples"

READ: dict[str, Callable[[str], object]] = {
    "From": parse_name_addr,
    "To": parse_name_addr,
    "Contact": parse_name_addrs,
    "Route": parse_name_addrs,
    "Record-Route": parse_name_addrs,
    "Path": parse_name_addrs,
    "Service-Route": parse_name_addrs,
    "Refer-To": parse_name_addr,
    "Via": parse_vias,
    "CSeq": parse_cseq,
    "Event": parse_event,
    "Subscription-State": parse_subscription_state,
    "Content-Type": parse_media_type,
    "Authorization": parse_credentials,
    "Proxy-Authorization": parse_credentials,
    "WWW-Authenticate": parse_challenge,
    "Proxy-Authenticate": parse_challenge,
}


def examples() -> list[tuple[str, Request | Response]]:
    """All examples by name, read as datagrams."""
    paths = sorted(FOLDER.glob("*/*.sip"))
    return [(f"{path.parent.name}/{path.name}", parse_message(path.read_bytes())) for path in paths]


class ExampleTests(SynchronousTestCase):
    """What the RFCs print is read, checked and written again."""

    def test_requests(self) -> None:
        """Every request passes the checks."""
        messages = examples()
        self.assertGreater(len(messages), 200)
        for name, message in messages:
            if isinstance(message, Request):
                try:
                    validate_request(message)
                except Exception as error:
                    self.fail(f"{name}: {error}")

    def test_round_trip(self) -> None:
        """What is written is read again as the same, from a stream too."""
        for name, message in examples():
            message.remove("Content-Length")
            data = message.to_bytes()
            for again in (parse_message(data), StreamFramer().feed(data)[0]):
                assert isinstance(again, (Request, Response))
                again.remove("Content-Length")
                self.assertEqual(again.start_line(), message.start_line(), name)
                self.assertEqual(again.headers, message.headers, name)
                self.assertEqual(again.body, message.body, name)

    def test_values(self) -> None:
        """A value that is read, written and read again says the same."""
        for name, message in examples():
            if isinstance(message, Request):
                uri = message.request_uri
                self.assertEqual(parse_uri(str(uri)), uri, name)
            for field, parse in READ.items():
                for value in message.headers.get(field, []):
                    if value == "*":
                        continue
                    read = parse(value)
                    text = ", ".join(map(str, read)) if type(read) is tuple else str(read)
                    self.assertEqual(parse(text), read, f"{name}: {value}")
