"""What presence of ten buddies costs a watcher in an hour: packets and octets on his wire.

``python -m tests.bench.traffic`` replays an hour of one user with ten buddies through the whole
service, on a clock of its own, and prints what goes over the wire of the user in both directions:
as it is without any extension, with each of them, and with all together.
"""

import argparse
import zlib
from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from simplestack.app.settings import Settings
from simplestack.documents.pidf import MEDIA_TYPE, Presence, parse_presence
from simplestack.documents.pidfdiff import PidfFull, parse_pidf_diff, patch, presence_document
from simplestack.event.coding import encode
from simplestack.event.partialpresence import PARTIAL_TYPE
from simplestack.sip.message import Request, parse_message
from tests.app.world import Phone, World

__all__ = ["VARIANTS", "Traffic", "Variant", "measure"]

DOMAIN = "example.com"
#: Seconds that a subscription lasts; it is refreshed when nine tenths of them are over.
EXPIRES = 600
#: The published measure for ten buddies and an hour: an edge presence client, and a proprietary
#: service whose server keeps the list.
MEASURED = {"edge presence client": (1160, 745_770), "proprietary service": (212, 30_950)}


class Variant(NamedTuple):
    """How the user subscribes."""

    name: str
    conditional: bool = False
    partial: bool = False
    rates: bool = False
    coded: bool = False
    #: One subscription to all buddies (RFC 5367).
    listed: bool = False
    #: Notifications per second at most, where there is rate control: about one in a minute.
    rate: str = "0.0167"
    #: Seconds that a subscription lasts.
    expires: int = EXPIRES


VARIANTS = (
    Variant("plain"),
    Variant("conditional", conditional=True),
    Variant("partial", partial=True),
    Variant("rate control", rates=True),
    Variant("content coding", coded=True),
    Variant("all together", True, True, True, True),
    Variant("one list", listed=True),
    Variant("one list, all but partial", True, False, True, True, True),
    Variant("the same for an hour, every 5 minutes", True, False, True, True, True, "0.0033", 7200),
)


class Traffic(NamedTuple):
    """What went over the wire of the user."""

    packets: int
    octets: int
    #: Of them, the octets of bodies.
    bodies: int
    notifies: int
    subscribes: int
    #: The octets of an average NOTIFY and its answer, and of a SUBSCRIBE and its answer, without
    #: bodies.
    notify_head: int
    subscribe_head: int


class Event(NamedTuple):
    """At a time, the new state of a buddy."""

    when: float
    buddy: int
    document: bytes


def document(aor: str, activity: str, idle: bool, note: str, place: str) -> bytes:
    """A rich presence document as a client of today publishes it (RFC 4480)."""
    basic = "closed" if activity == "away" else "open"
    user_input = (
        '<rpid:user-input idle-threshold="600">idle</rpid:user-input>'
        if idle
        else '<rpid:user-input idle-threshold="600">active</rpid:user-input>'
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<presence xmlns="urn:ietf:params:xml:ns:pidf"'
        ' xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model"'
        ' xmlns:rpid="urn:ietf:params:xml:ns:pidf:rpid"'
        ' xmlns:caps="urn:ietf:params:xml:ns:pidf:caps"'
        f' entity="{aor}"><tuple id="voice"><status><basic>{basic}</basic></status>'
        "<caps:servcaps><caps:audio>true</caps:audio><caps:message>true</caps:message>"
        "<caps:video>true</caps:video></caps:servcaps>"
        f'<rpid:class>phone</rpid:class>{user_input}<contact priority="0.8">{aor}</contact></tuple>'
        '<tuple id="im"><status><basic>open</basic></status><caps:servcaps>'
        "<caps:message>true</caps:message></caps:servcaps>"
        f'<rpid:class>im</rpid:class><contact priority="0.5">{aor}</contact></tuple>'
        f'<dm:person id="me"><rpid:activities><rpid:{activity}/></rpid:activities>'
        f"<rpid:place-type><rpid:{place}/></rpid:place-type>"
        f"<rpid:time-offset>60</rpid:time-offset><dm:note>{note}</dm:note></dm:person>"
        '<dm:device id="pc"><dm:deviceID>urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6'
        "</dm:deviceID></dm:device></presence>"
    ).encode()


def hour(buddies: int, seconds: int, seed: int = 7) -> list[Event]:
    """What happens: calls, pauses, a note, a place, and clients that change their mind at once."""
    random = Random(seed)
    events: list[Event] = []
    for buddy in range(buddies):
        aor = f"sip:buddy{buddy}@{DOMAIN}"
        calm, note, place = "working", "at my desk", "office"
        steps: list[tuple[float, dict[str, object]]] = []
        for _ in range(2):
            start = random.uniform(0, seconds * 0.9)
            end = start + random.uniform(60, 400)
            # The device says busy first, the call control a moment later why.
            steps += [
                (start, {"activity": "busy"}),
                (start + 1, {"activity": "on-the-phone"}),
                (end, {"activity": "busy"}),
                (end + 1, {"activity": calm}),
            ]
        for _ in range(3):
            start = random.uniform(0, seconds * 0.9)
            steps += [(start, {"idle": True}), (start + random.uniform(120, 600), {"idle": False})]
        blink = random.uniform(0, seconds)
        steps += [(blink, {"activity": "away"}), (blink + 2, {"activity": calm})]
        steps.append((random.uniform(0, seconds), {"note": f"lunch at {buddy}"}))
        steps.append((random.uniform(0, seconds), {"place": "cafe"}))
        state: dict[str, object] = {"activity": calm, "idle": False, "note": note, "place": place}
        events.append(Event(-1.0, buddy, document(aor, **state)))  # type: ignore[arg-type]  # the fields of a document
        for when, change in sorted(steps, key=lambda step: step[0]):
            state |= change
            if when < seconds:
                events.append(Event(when, buddy, document(aor, **state)))  # type: ignore[arg-type]  # the fields of a document
    return sorted(events)


class Dialog:
    """A subscription of the user."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.call_id = self.from_ = self.to = self.target = self.tag = ""
        self.document = b""
        self.due = 0.0


class User:
    """The watcher: subscribes, refreshes in time, and puts together what he is told."""

    def __init__(self, world: World, variant: Variant, buddies: int) -> None:
        self.world = world
        self.variant = variant
        self.phone = world.phone(f"user@{DOMAIN}", "tcp", "user")
        uris = [f"sip:buddy{number}@{DOMAIN}" for number in range(buddies)]
        self.buddies = uris
        self.dialogs = [
            Dialog(uri) for uri in ([f"sip:lists@{DOMAIN}"] if variant.listed else uris)
        ]

    def subscribe(self, dialog: Dialog) -> None:
        """Subscribe, or refresh."""
        variant, phone = self.variant, self.phone
        event = f"presence;max-rate={variant.rate}" if variant.rates else "presence"
        accept = MEDIA_TYPE
        if variant.partial:
            accept += f", {PARTIAL_TYPE}"
        headers = {"Event": [event], "Expires": [str(variant.expires)], "Accept": [accept]}
        if variant.coded:
            headers["Accept-Encoding"] = ["deflate"]
        body = b""
        if variant.listed:
            headers["Accept"] = [f"multipart/related, application/rlmi+xml, {MEDIA_TYPE}"]
            headers["Supported"] = ["eventlist"]
            if not dialog.to:
                headers["Require"] = ["recipient-list-subscribe"]
                headers["Content-Type"] = ["application/resource-lists+xml"]
                headers["Content-Disposition"] = ["recipient-list"]
                entries = "".join([f'<entry uri="{uri}"/>' for uri in self.buddies])
                body = (
                    '<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"><list>'
                    f"{entries}</list></resource-lists>"
                ).encode()
        if variant.conditional and dialog.tag:
            headers["Suppress-If-Match"] = [dialog.tag]
        request = phone.request("SUBSCRIBE", dialog.target or dialog.uri, headers, body)
        if dialog.to:
            request.set("Call-ID", dialog.call_id)
            request.set("From", dialog.from_)
            request.set("To", dialog.to)
        else:
            dialog.call_id, dialog.from_ = request.call_id, str(request.headers["From"][0])
        phone.send(request)
        self.world.run(0.0)
        for message in list(phone.inbox):
            if not isinstance(message, Request):
                phone.inbox.remove(message)
                status = getattr(message, "status", 0)
                assert status in (200, 204), message
                assert status == 200 or dialog.to
                if not dialog.to:
                    dialog.to = message.headers["To"][0]  # type: ignore[union-attr]  # it is a response
                    dialog.target = str(message.contacts[0].uri)  # type: ignore[union-attr]  # it is a response
        dialog.due = self.world.now + variant.expires * 0.9
        self.take()

    def take(self) -> None:
        """Read the NOTIFYs that have come."""
        for notify in self.phone.notifies():
            (dialog,) = [each for each in self.dialogs if each.call_id == notify.call_id]
            dialog.tag = notify.etag or dialog.tag
            body = notify.body
            if not body or self.variant.listed:
                continue
            if notify.content_encoding == ("deflate",):
                body = zlib.decompress(body)
            media_type = notify.content_type
            assert media_type is not None
            if media_type.type == MEDIA_TYPE:
                dialog.document = body
                continue
            update = parse_pidf_diff(body)
            if isinstance(update, PidfFull):
                dialog.document = presence_document(body)
            else:
                dialog.document = patch(dialog.document, update)


def measure(variant: Variant, buddies: int = 10, seconds: int = 3600) -> Traffic:
    """Replay the time; what went over the user's wire.

    Raises AssertionError where he does not know the buddies' state in the end.
    """
    users = [f"user@{DOMAIN}", *[f"buddy{number}@{DOMAIN}" for number in range(buddies)]]
    settings = Settings(
        domains=(DOMAIN,),
        default_handling="allow",
        notify_interval=5 if variant.rates else 0,
        list_interval=60 if variant.rates else 1,
        publish_default_expires=7200,
    )
    world = World(users, settings=settings)
    publishers = [world.phone(f"buddy{number}@{DOMAIN}", "tcp") for number in range(buddies)]
    for phone in publishers:
        world.store_rules(phone.aor, {}, _everything(phone.aor))
    tags = [""] * buddies
    user = User(world, variant, buddies)
    timeline = hour(buddies, seconds)
    while timeline and timeline[0].when < 0:
        _publish(publishers, tags, timeline.pop(0))
    start = len(world.log)
    for dialog in user.dialogs:
        user.subscribe(dialog)
    for second in range(seconds):
        while timeline and timeline[0].when <= second:
            _publish(publishers, tags, timeline.pop(0))
        world.run(1.0)
        user.take()
        for dialog in user.dialogs:
            if dialog.due <= world.now:
                user.subscribe(dialog)
    traffic = _count(world, user.phone, start)
    world.run(120.0)
    user.take()
    _check(world, user)
    return traffic


def _everything(aor: str) -> bytes:
    return (
        '<cp:ruleset xmlns="urn:ietf:params:xml:ns:pres-rules"'
        ' xmlns:cp="urn:ietf:params:xml:ns:common-policy"><cp:rule id="a"><cp:conditions>'
        f'<cp:identity><cp:many domain="{DOMAIN}"/></cp:identity></cp:conditions><cp:actions>'
        "<sub-handling>allow</sub-handling></cp:actions><cp:transformations>"
        "<provide-devices><all-devices/></provide-devices>"
        "<provide-persons><all-persons/></provide-persons>"
        "<provide-services><all-services/></provide-services>"
        "<provide-all-attributes/></cp:transformations></cp:rule></cp:ruleset>"
    ).encode()


def _publish(publishers: Sequence[Phone], tags: list[str], event: Event) -> None:
    phone = publishers[event.buddy]
    headers = {"Event": ["presence"], "Content-Type": [MEDIA_TYPE]}
    if tags[event.buddy]:
        headers["SIP-If-Match"] = [tags[event.buddy]]
    response = phone.ask("PUBLISH", phone.aor, headers, event.document)
    assert response.status == 200, response.status
    tags[event.buddy] = response.etag or ""


def _count(world: World, phone: Phone, start: int) -> Traffic:
    packets = octets = bodies = notifies = subscribes = 0
    heads = {"NOTIFY": 0, "SUBSCRIBE": 0}
    for _, link, _, data in world.log[start:]:
        if link.phone is phone:
            packets += 1
            octets += len(data)
            message = parse_message(data)
            bodies += len(message.body)
            heads[message.cseq.method] += len(data) - len(message.body)
            if isinstance(message, Request):
                notifies += message.method == "NOTIFY"
                subscribes += message.method == "SUBSCRIBE"
    return Traffic(
        packets,
        octets,
        bodies,
        notifies,
        subscribes,
        heads["NOTIFY"] // max(1, notifies),
        heads["SUBSCRIBE"] // max(1, subscribes),
    )


def _check(world: World, user: User) -> None:
    """What the user has put together is what a fetch shows."""
    if user.variant.listed:
        return
    for dialog in user.dialogs:
        fetched = user.phone.ask("SUBSCRIBE", dialog.uri, {"Event": ["presence"], "Expires": ["0"]})
        assert fetched.status == 200
        world.run(0.0)
        (notify,) = user.phone.notifies()
        shown: Presence = parse_presence(notify.body)
        assert parse_presence(dialog.document) == shown, dialog.uri


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all variants and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.traffic", description=__doc__)
    parser.add_argument("--buddies", type=int, default=10)
    parser.add_argument("--seconds", type=int, default=3600)
    options = parser.parse_args(arguments)
    events = [event for event in hour(options.buddies, options.seconds) if event.when >= 0]
    print(
        f"{options.buddies} buddies, {options.seconds} s, {len(events)} changes;"
        f" subscriptions of {EXPIRES} s;"
        f" a document has {len(events[0].document)} octets,"
        f" {len(encode('deflate', events[0].document))} deflated"
    )
    print(
        f"{'':52}{'packets':>8}{'octets':>9}{'bodies':>9}{'NOTIFY':>8}{'head':>6}{'SUBSCRIBE':>11}{'head':>6}"
    )
    for variant in VARIANTS:
        traffic = measure(variant, options.buddies, options.seconds)
        print(
            f"{variant.name:52}{traffic.packets:8}{traffic.octets:9}{traffic.bodies:9}"
            f"{traffic.notifies:8}{traffic.notify_head:6}{traffic.subscribes:11}"
            f"{traffic.subscribe_head:6}"
        )
    print("head: octets of the header fields of a request and its answer together")
    for name, (packets, octets) in MEASURED.items():
        print(f"{'published: ' + name:52}{packets:8}{octets:9}")


if __name__ == "__main__":
    main()
