"""The messages of the generator: templates in which only the few varying octets are filled in."""

from tests.bench.account import Account, values_of

__all__ = [
    "COOKIE",
    "EVERY_NOTIFY",
    "PublishTemplate",
    "RegisterTemplate",
    "SubscribeTemplate",
    "dialog_lines",
    "many_rules",
    "mark_of",
    "normalized",
    "options",
    "rules_document",
]

#: The magic cookie of RFC 3261 §8.1.1.7; eight hexadecimal digits of ours follow it.
COOKIE = b"z9hG4bK"
#: The mark that every NOTIFY of an active subscription carries.
EVERY_NOTIFY = b"\r\nSubscription-State: active"
#: Seconds that everything lives: far longer than a run.
_LIFE = 3600


def mark_of(serial: bytes) -> bytes:
    """The text by which the NOTIFY of one PUBLISH is told from all others."""
    return b"at desk " + serial


def _via(host: bytes, transport: bytes = b"UDP") -> bytes:
    return b"\r\nVia: SIP/2.0/%b %b;rport;branch=%b" % (transport, host, COOKIE)


def _uri(name: bytes, host: bytes, transport: bytes) -> bytes:
    """The URI of Contact; it names the transport where that is not UDP."""
    suffix = b"" if transport == b"UDP" else b";transport=" + transport.lower()
    return b"sip:%b@%b%b" % (name, host, suffix)


class RegisterTemplate:
    """REGISTER of one contact of an account, refreshed with the same Call-ID and a rising CSeq."""

    __slots__ = ("_account", "_head", "_middle", "_tail", "_uri")

    def __init__(self, account: Account, host: bytes, transport: bytes = b"UDP") -> None:
        self._account = account
        self._uri = b"sip:" + account.domain.encode()
        aor = account.aor
        name = account.username.encode()
        self._head = b"REGISTER %b SIP/2.0%b" % (self._uri, _via(host, transport))
        self._middle = (
            b"\r\nMax-Forwards: 70\r\nFrom: <%b>;tag=r%b\r\nTo: <%b>\r\n"
            b"Call-ID: register-%b@bench\r\nCSeq: " % (aor, name, aor, name)
        )
        self._tail = b" REGISTER\r\nContact: <%b>\r\nExpires: %d\r\nUser-Agent: bench\r\n" % (
            _uri(name, host, transport),
            _LIFE,
        )

    def write(self, serial: bytes, number: int) -> bytes:
        """The octets of one more REGISTER."""
        return b"".join(
            (
                self._head,
                serial,
                self._middle,
                b"%d" % number,
                self._tail,
                self._account.authorization(b"REGISTER", self._uri),
                b"Content-Length: 0\r\n\r\n",
            )
        )


class PublishTemplate:
    """PUBLISH of an account's presence; the note differs every time, so the state does too."""

    __slots__ = ("_account", "_body", "_head", "_middle", "_tail", "_uri")

    def __init__(self, account: Account, host: bytes, transport: bytes = b"UDP") -> None:
        self._account = account
        aor = self._uri = account.aor
        name = account.username.encode()
        self._head = b"PUBLISH %b SIP/2.0%b" % (aor, _via(host, transport))
        self._middle = (
            b"\r\nMax-Forwards: 70\r\nFrom: <%b>;tag=p%b\r\nTo: <%b>\r\n"
            b"Call-ID: publish-%b@bench\r\nCSeq: " % (aor, name, aor, name)
        )
        self._tail = (
            b" PUBLISH\r\nEvent: presence\r\nExpires: %d\r\nUser-Agent: bench\r\n"
            b"Content-Type: application/pidf+xml\r\n" % _LIFE
        )
        before = (
            b'<?xml version="1.0" encoding="UTF-8"?>\r\n'
            b'<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="%b">\r\n'
            b' <tuple id="t1">\r\n  <status><basic>open</basic></status>\r\n'
            b'  <contact priority="0.8">sip:%b@%b</contact>\r\n  <note>' % (aor, name, host)
        )
        after = b"</note>\r\n </tuple>\r\n</presence>\r\n"
        length = len(before) + len(mark_of(b"00000000")) + len(after)
        self._body = (b"Content-Length: %d\r\n\r\n%b" % (length, before), after)

    def write(self, serial: bytes, number: int, entity_tag: bytes) -> bytes:
        """The octets of one more PUBLISH: a modification where there is an entity-tag."""
        return b"".join(
            (
                self._head,
                serial,
                self._middle,
                b"%d" % number,
                self._tail,
                b"SIP-If-Match: %b\r\n" % entity_tag if entity_tag else b"",
                self._account.authorization(b"PUBLISH", self._uri),
                self._body[0],
                mark_of(serial),
                self._body[1],
            )
        )


class SubscribeTemplate:
    """SUBSCRIBE of a watcher to whom he likes, each in a new dialog."""

    __slots__ = ("_account", "_contact", "_from", "_via")

    def __init__(
        self, account: Account, host: bytes, contact: bytes, transport: bytes = b"UDP"
    ) -> None:
        self._account = account
        name = account.username.encode()
        self._via = b" SIP/2.0" + _via(host, transport)
        self._from = b"\r\nMax-Forwards: 70\r\nFrom: <%b>;tag=s" % account.aor
        self._contact = (
            b" SUBSCRIBE\r\nContact: <%b>\r\nEvent: presence\r\nExpires: %d\r\n"
            b"Accept: application/pidf+xml\r\nUser-Agent: bench\r\n"
            % (_uri(name, contact, transport), _LIFE)
        )

    def write(self, serial: bytes, number: int, presentity: bytes, dialog: bytes) -> bytes:
        """The octets of a SUBSCRIBE; ``dialog`` is eight octets that name its dialog."""
        return b"".join(
            (
                b"SUBSCRIBE ",
                presentity,
                self._via,
                serial,
                self._from,
                dialog,
                b"\r\nTo: <",
                presentity,
                b">\r\nCall-ID: d",
                dialog,
                b"@bench\r\nCSeq: %d" % number,
                self._contact,
                self._account.authorization(b"SUBSCRIBE", presentity),
                b"Content-Length: 0\r\n\r\n",
            )
        )


def options(domain: str, host: bytes, serial: bytes) -> bytes:
    """An OPTIONS to the server: any answer says that it is up."""
    name = domain.encode()
    return (
        b"OPTIONS sip:%b SIP/2.0%b%b\r\nMax-Forwards: 70\r\n"
        b"From: <sip:probe@%b>;tag=o%b\r\nTo: <sip:%b>\r\nCall-ID: o%b@bench\r\n"
        b"CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
        % (name, _via(host), serial, name, serial, name, serial)
    )


_COMPACT = {b"v": b"Via", b"f": b"From", b"t": b"To", b"i": b"Call-ID"}
_USUAL = {b"via": b"Via", b"from": b"From", b"to": b"To", b"call-id": b"Call-ID", b"cseq": b"CSeq"}


def normalized(data: bytes) -> bytes:
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
        b"\r\n%b: %b" % (name, values_of(data, name)[0]) for name in (b"From", b"To", b"Call-ID")
    )


def rules_document(domain: str) -> bytes:
    """A presence rules document (RFC 5025) that allows the domain all, but blocks one user."""
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<ruleset xmlns="urn:ietf:params:xml:ns:common-policy"
         xmlns:pr="urn:ietf:params:xml:ns:pres-rules">
  <rule id="colleagues">
    <conditions><identity><many domain="{domain}"/></identity></conditions>
    <actions><pr:sub-handling>allow</pr:sub-handling></actions>
    <transformations>
      <pr:provide-services><pr:all-services/></pr:provide-services>
      <pr:provide-persons><pr:all-persons/></pr:provide-persons>
      <pr:provide-devices><pr:all-devices/></pr:provide-devices>
      <pr:provide-all-attributes/>
    </transformations>
  </rule>
  <rule id="stranger">
    <conditions><identity><one id="sip:stranger@elsewhere.example"/></identity></conditions>
    <actions><pr:sub-handling>block</pr:sub-handling></actions>
  </rule>
</ruleset>
""".encode()


#: What the twenty rules give besides services and notes: each another choice of these.
_GIVEN = ("activities", "mood", "place-type", "sphere", "time-offset")


def many_rules(domain: str, users: list[str]) -> bytes:
    """A presence rules document of twenty rules, each for a twentieth of the users.

    No two give the same, so watchers who come from all of them have twenty views.
    """
    rules = []
    for number in range(20):
        names = "".join([f'<one id="sip:{user}@{domain}"/>' for user in users[number::20]])
        given = "".join(
            [
                f"<pr:provide-{name}>true</pr:provide-{name}>"
                for place, name in enumerate(_GIVEN)
                if number >> place & 1
            ]
        )
        rules.append(
            f'<rule id="group{number}"><conditions><identity>{names}</identity></conditions>'
            "<actions><pr:sub-handling>allow</pr:sub-handling></actions><transformations>"
            "<pr:provide-services><pr:all-services/></pr:provide-services>"
            "<pr:provide-persons><pr:all-persons/></pr:provide-persons>"
            f"{given}<pr:provide-note>true</pr:provide-note></transformations></rule>"
        )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<ruleset xmlns="urn:ietf:params:xml:ns:common-policy"'
        f' xmlns:pr="urn:ietf:params:xml:ns:pres-rules">{"".join(rules)}</ruleset>'
    ).encode()
