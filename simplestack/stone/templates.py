"""The messages: templates in which only the few varying octets are filled in.

A mark is in every presence document that is published.  It has the name of the run, the number of
the presentity, the serial of the change, and the moment for which it was scheduled, in microseconds of the
controller's clock; a NOTIFY is matched to its PUBLISH by it, in whatever process.
"""

from collections.abc import Sequence
from typing import Final

from simplestack.stone.credentials import Credentials, values_of
from simplestack.stone.wire import Link

__all__ = [
    "COOKIE",
    "MARK",
    "MARK_LENGTH",
    "Body",
    "PublishTemplate",
    "RegisterTemplate",
    "SubscribeTemplate",
    "dialog_lines",
    "mark",
    "options_request",
    "respelled",
]

#: The magic cookie of RFC 3261 §8.1.1.7; six digits of the run and ten of the request follow it.
COOKIE: Final = b"z9hG4bK"
#: What a mark begins with; then six digits of the run, eight, eight, and fourteen.
MARK: Final = b"~stone~"
MARK_LENGTH: Final = 7 + 6 + 8 + 8 + 14
_LEAST: Final = 350


def mark(run: bytes, presentity: int, serial: int, moment: int) -> bytes:
    """The mark of a change."""
    return b"~stone~%b%08x%08x%014x" % (run, presentity, serial, moment)


class Body:
    """A presence document of a presentity, before and after the mark."""

    __slots__ = ("after", "before", "content_type")

    def __init__(self, before: bytes, after: bytes, content_type: bytes) -> None:
        self.before = before
        self.after = after
        self.content_type = content_type

    @classmethod
    def of_size(cls, entity: bytes, contact: bytes, size: int) -> "Body":
        """A PIDF document (RFC 3863) of so many octets, filled up with the words of a note.

        Names that are too long for it leave no room for a contact; the shortest has 262 octets
        and those of the URI.
        """
        head = (
            b'<?xml version="1.0" encoding="UTF-8"?>\r\n'
            b'<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="%b">\r\n'
            b'<tuple id="t1"><status><basic>open</basic></status>' % entity
        )
        after = b"</note></tuple>\r\n</presence>\r\n"
        before = head + b'<contact priority="0.8">%b</contact><note>' % contact
        if len(before) + MARK_LENGTH + len(after) > size:
            before = head + b"<note>"
        missing = size - len(before) - MARK_LENGTH - len(after)
        if missing > 0:
            words = b" at the desk until four," * (missing // 24 + 1)
            after = words[: missing - 1] + b"." + after
        return cls(before, after, b"application/pidf+xml")

    @classmethod
    def own(cls, document: bytes, entity: bytes, content_type: bytes) -> "Body":
        """An own document: ``{entity}`` stands for the presentity's URI, ``{mark}`` for the mark.

        Raises ValueError where it has no place for the mark.
        """
        before, found, after = document.replace(b"{entity}", entity).partition(b"{mark}")
        if not found:
            raise ValueError("it has no {mark}, by which its NOTIFYs would be known")
        return cls(before, after, content_type)


class RegisterTemplate:
    """REGISTER of one contact, refreshed with the same Call-ID and a rising CSeq."""

    __slots__ = ("_credentials", "_end", "_former", "_head", "_middle", "_tail", "_uri", "number")

    def __init__(
        self,
        credentials: Credentials,
        aor: bytes,
        domain: bytes,
        link: Link,
        expires: int,
        former: Sequence[bytes] = (),
    ) -> None:
        self._credentials = credentials
        #: The contacts that are removed, too: those of connections that were cut (RFC 3261 §10.2.2).
        self._former = b"".join([b"Contact: <%b>\r\n" % each for each in former])
        self.number = 0
        name = credentials.username.encode()
        self._uri = b"sip:" + domain
        self._head = b"REGISTER %b SIP/2.0%b" % (self._uri, link.via)
        self._middle = (
            b"\r\nMax-Forwards: 70\r\nFrom: <%b>;tag=r%b\r\nTo: <%b>\r\n"
            b"Call-ID: r%b-%b@%b\r\nCSeq: " % (aor, name, aor, link.run, name, link.host)
        )
        self._tail = b" REGISTER\r\nContact: <%b>\r\nExpires: " % link.contact(name)
        self._end = expires

    def write(self, branch: bytes, ending: bool) -> bytes:
        """The octets of one more; ``ending`` removes the contact, and the former ones."""
        self.number += 1
        return b"".join(
            (
                self._head,
                branch,
                self._middle,
                b"%d" % self.number,
                self._tail,
                b"%d\r\n" % (0 if ending else self._end),
                self._former if ending else b"",
                self._credentials.line(b"REGISTER", self._uri),
                b"Content-Length: 0\r\n\r\n",
            )
        )


class PublishTemplate:
    """PUBLISH of a user's presence (RFC 3903 §4)."""

    __slots__ = (
        "_after",
        "_before",
        "_credentials",
        "_expires",
        "_head",
        "_middle",
        "_uri",
        "number",
    )

    def __init__(
        self, credentials: Credentials, aor: bytes, link: Link, expires: int, body: Body
    ) -> None:
        self._credentials = credentials
        self.number = 0
        name = credentials.username.encode()
        self._uri = aor
        self._head = b"PUBLISH %b SIP/2.0%b" % (aor, link.via)
        self._middle = (
            b"\r\nMax-Forwards: 70\r\nFrom: <%b>;tag=p%b\r\nTo: <%b>\r\n"
            b"Call-ID: p%b-%b@%b\r\nEvent: presence\r\nCSeq: "
            % (aor, name, aor, link.run, name, link.host)
        )
        self._expires = expires
        length = len(body.before) + MARK_LENGTH + len(body.after)
        self._before = b"Content-Type: %b\r\nContent-Length: %d\r\n\r\n%b" % (
            body.content_type,
            length,
            body.before,
        )
        self._after = body.after

    def write(self, branch: bytes, entity_tag: bytes, marked: bytes, ending: bool) -> bytes:
        """The octets of one more: without a mark it only refreshes, or removes."""
        self.number += 1
        return b"".join(
            (
                self._head,
                branch,
                self._middle,
                b"%d PUBLISH\r\nExpires: %d\r\n" % (self.number, 0 if ending else self._expires),
                b"SIP-If-Match: %b\r\n" % entity_tag if entity_tag else b"",
                self._credentials.line(b"PUBLISH", self._uri),
                self._before if marked else b"Content-Length: 0\r\n\r\n",
                marked,
                self._after if marked else b"",
            )
        )


class SubscribeTemplate:
    """SUBSCRIBE of a watcher: to whom he likes, each in a new dialog, and in the dialogs."""

    __slots__ = ("_after", "_aor", "_credentials", "_expires", "_run", "_via")

    def __init__(self, credentials: Credentials, aor: bytes, link: Link, expires: int) -> None:
        self._credentials = credentials
        self._expires = expires
        self._run = link.run
        name = credentials.username.encode()
        self._via = b" SIP/2.0" + link.via
        self._aor = aor
        self._after = b" SUBSCRIBE\r\nContact: <%b>\r\nEvent: presence\r\n" % link.contact(name)

    def write(
        self,
        branch: bytes,
        call: bytes,
        number: int,
        target: bytes,
        to: bytes,
        extra: bytes,
        body: bytes,
        ending: bool,
    ) -> bytes:
        """The octets of a SUBSCRIBE: to a Request-URI, with a To value, and extra lines."""
        return b"".join(
            (
                b"SUBSCRIBE ",
                target,
                self._via,
                branch,
                b"\r\nMax-Forwards: 70\r\nFrom: <%b>;tag=s%b\r\nTo: %b\r\nCall-ID: d%b-%b\r\nCSeq: %d"
                % (self._aor, call, to, call, self._run, number),
                self._after,
                b"Expires: %d\r\n" % (0 if ending else self._expires),
                extra,
                self._credentials.line(b"SUBSCRIBE", target),
                b"Content-Length: %d\r\n\r\n" % len(body),
                body,
            )
        )


def options_request(domain: bytes, link: Link, branch: bytes) -> bytes:
    """An OPTIONS to the server: any answer says that it is up (RFC 3261 §11)."""
    return (
        b"OPTIONS sip:%b SIP/2.0%b%b\r\nMax-Forwards: 70\r\nFrom: <sip:stone@%b>;tag=o%b\r\n"
        b"To: <sip:%b>\r\nCall-ID: o%b\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
        % (domain, link.via, branch, domain, branch, domain, branch)
    )


_COMPACT: Final = {b"v": b"Via", b"f": b"From", b"t": b"To", b"i": b"Call-ID"}
_USUAL: Final = {
    b"via": b"Via",
    b"from": b"From",
    b"to": b"To",
    b"call-id": b"Call-ID",
    b"cseq": b"CSeq",
}


def respelled(data: bytes) -> bytes:
    """The message with the header fields that a 200 copies spelled ``Name: value``."""
    head, separator, body = data.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    for at, line in enumerate(lines[1:], 1):
        name, colon, value = line.partition(b":")
        key = name.strip().lower()
        spelled = _USUAL.get(key) or _COMPACT.get(key)
        if colon and spelled:
            lines[at] = b"%b: %b" % (spelled, value.strip())
    return b"\r\n".join(lines) + separator + body


def dialog_lines(data: bytes) -> bytes:
    """The lines of a request that every response in its dialog repeats, CSeq and Via aside."""
    return b"".join(
        b"\r\n%b: %b" % (name, value)
        for name in (b"From", b"To", b"Call-ID")
        for value in values_of(data, name)[:1]
    )
