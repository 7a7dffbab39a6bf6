"""What holds for all texts: round trips, and no surprise from any octets."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from simplestack.sip import fields
from simplestack.sip.errors import ParseError, SIPError
from simplestack.sip.fields import NameAddr, Via, parse_end, parse_name_addr, parse_via
from simplestack.sip.framer import KeepAlive, StreamFramer
from simplestack.sip.grammar import Params, parse_params, quote, split_list, unquote
from simplestack.sip.message import (
    Message,
    Request,
    Response,
    parse_message,
    validate_request,
    validate_response,
)
from simplestack.sip.uri import Uri, parse_uri

FOLDER = Path(__file__).parent.parent / "data" / "torture"
TORTURE = [path.read_bytes() for path in sorted(FOLDER.glob("*.dat"))]
PARSERS = [getattr(fields, name) for name in fields.__all__ if name.startswith("parse_")]
PROPERTIES = [name for name in dir(Message) if isinstance(getattr(Message, name), property)]

ALPHANUM = "abcXYZ019"
some = settings(max_examples=60, deadline=None)

# Text as it comes from the wire: no lone surrogates but those that stand for octets.
text = st.binary(max_size=12).map(lambda octets: octets.decode("utf-8", "surrogateescape"))
tokens = st.text(ALPHANUM + "-.!%*_+`'~", min_size=1, max_size=8)
labels = st.text(ALPHANUM + "-", min_size=1, max_size=6).map(lambda label: f"a{label.lower()}z")
hosts = st.one_of(
    st.lists(labels, min_size=1, max_size=3).map(".".join),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(lambda address: f"[{address.compressed}]"),
)
ports = st.none() | st.integers(0, 65535)
wire = st.text(ALPHANUM + " \t;,:=<>\"\\()@/?&%[]*-.+'~\r\n\x00\x7fé", max_size=40)


def unique(pairs: list[tuple[str, str | None]]) -> tuple[tuple[str, str | None], ...]:
    """The pairs, each name once."""
    return tuple(dict(pairs).items())


@st.composite
def uris(draw: st.DrawFn) -> Uri:
    """SIP and SIPS URIs with anything that can be escaped."""
    user = draw(text)
    names = st.text(ALPHANUM + "-é%&;", min_size=1, max_size=4).map(str.lower)
    return Uri(
        draw(st.sampled_from(["sip", "sips"])),
        user,
        draw(st.none() | text) if user else None,
        draw(hosts),
        draw(ports),
        unique(draw(st.lists(st.tuples(names, st.none() | text), max_size=3))),
        tuple(
            draw(st.lists(st.tuples(st.text(ALPHANUM, min_size=1, max_size=4), text), max_size=2))
        ),
    )


@st.composite
def params(draw: st.DrawFn) -> Params:
    """Header parameters: tokens and quoted strings, some of which look like others."""
    alike = st.sampled_from([";branch=abc", "a;branch=abc;rport", ">;tag=abc", '";tag=abc'])
    quoted = (text | alike).map(lambda value: quote(value.replace("\r", "").replace("\n", "")))
    names = tokens.map(str.lower) | st.sampled_from(["branch", "tag", "rport"])
    pairs = st.tuples(names, st.none() | tokens | hosts | quoted)
    return unique(draw(st.lists(pairs, max_size=3)))


displays = text.map(lambda value: value.replace("\r", "").replace("\n", ""))
name_addrs = st.builds(NameAddr, displays, uris(), params())
vias = st.builds(Via, tokens.map(str.upper), hosts, ports, params())


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A torture message with some of its octets cut out, changed or repeated."""
    data = bytearray(draw(st.sampled_from(TORTURE)))
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, len(data)))
        end = start + draw(st.integers(0, 20))
        data[start:end] = draw(
            st.binary(max_size=6)
            | st.sampled_from(
                [b"\r\n", b"\r\n ", b":", b'"', b"<", b"%", b";", b",", b"\\", bytes(data[:start])]
            )
        )
    return bytes(data)


def read_all(message: Request | Response) -> None:
    """Read all there is in a message; only SIPError may come of it."""
    for name in PROPERTIES:
        try:
            str(getattr(message, name))
        except SIPError as error:
            assert error.status == 400
    try:
        if isinstance(message, Request):
            validate_request(message)
        else:
            validate_response(message)
    except SIPError as error:
        assert error.status in (400, 501)
    message.to_bytes()
    if isinstance(message, Request):
        message.refusal(SIPError(400, text=message.uri), "tag").to_bytes()
        try:
            uri = message.request_uri
        except SIPError:
            return
        assert parse_uri(uri.aor).aor == uri.aor
        assert uri.key().isascii()


class RoundTripTests(SynchronousTestCase):
    """What is written is read as what it was."""

    @some
    @given(uris())
    def test_uri(self, uri: Uri) -> None:
        """RFC 3261 §19.1.2: a URI of any text is escaped so that it is read as the same."""
        self.assertEqual(parse_uri(str(uri)), uri)
        self.assertTrue(str(uri).isascii())
        self.assertTrue(uri.equals(uri))
        aor = parse_uri(uri.aor)
        self.assertEqual((aor.scheme, aor.user, aor.host), ("sip", uri.user, uri.host))

    @some
    @given(uris(), uris())
    def test_key(self, one: Uri, other: Uri) -> None:
        """§19.1.4: the same key means equivalent URIs; equivalence is symmetric."""
        self.assertEqual(one.equals(other), other.equals(one))
        if one.key() == other.key():
            self.assertTrue(one.equals(other))
        upper = one.replace(params=tuple((n, v and v.upper()) for n, v in one.params[::-1]))
        if upper.equals(one) and one.equals(upper):
            self.assertEqual(upper.key().lower(), one.key().lower())

    @some
    @given(name_addrs)
    def test_name_addr(self, address: NameAddr) -> None:
        """§25.1: an address of any display name and parameters."""
        self.assertEqual(parse_name_addr(str(address)), address)
        self.assertEqual(parse_end(str(address)), address)

    @some
    @given(vias)
    def test_via(self, via: Via) -> None:
        """§25.1: a Via of any sent-by and parameters."""
        self.assertEqual(parse_via(str(via)), via)

    @some
    @given(st.lists(name_addrs, min_size=1, max_size=4))
    def test_list(self, addresses: list[NameAddr]) -> None:
        """§7.3.1: a list is divided where it was joined."""
        parts = [str(address) for address in addresses]
        self.assertEqual(split_list(", ".join(parts)), parts)

    @some
    @given(displays)
    def test_quoted(self, value: str) -> None:
        """§25.1 quoted-string: what is quoted is unquoted."""
        self.assertEqual(unquote(quote(value)), value)
        self.assertEqual(parse_params(f";a={quote(value)}"), (("a", quote(value)),))

    @some
    @given(
        tokens,
        uris(),
        st.dictionaries(
            tokens.map(lambda n: f"X-{n.capitalize()}"), st.lists(wire, min_size=1, max_size=3)
        ),
        st.binary(max_size=40),
    )
    def test_message(
        self, method: str, uri: Uri, headers: dict[str, list[str]], body: bytes
    ) -> None:
        """§7: a message of any fields and body, from a datagram and from a stream."""
        values = {
            name: [value.replace("\r", "").replace("\n", "").strip(" \t") for value in found]
            for name, found in headers.items()
        }
        message = Request(method, str(uri), dict(values), body)
        data = message.to_bytes()
        for again in (parse_message(data + b"more"), StreamFramer().feed(data)[0]):
            assert isinstance(again, Request)
            self.assertEqual((again.method, again.uri, again.body), (method, str(uri), body))
            again.remove("Content-Length")
            seen: dict[str, list[str]] = {}
            for name, found in values.items():
                seen.setdefault("-".join(p.capitalize() for p in name.split("-")), []).extend(found)
            self.assertEqual(again.headers, seen)


class AnythingTests(SynchronousTestCase):
    """Nothing but ParseError and SIPError comes of any octets."""

    @some
    @given(wire)
    def test_values(self, value: str) -> None:
        """Each parser of a value takes it or refuses it with 400."""
        for parse in PARSERS:
            try:
                str(parse(value))
            except SIPError as error:
                self.assertEqual(error.status, 400)
        try:
            uri = parse_uri(value)
        except SIPError:
            return
        self.assertEqual(parse_uri(str(uri)), uri)

    @some
    @given(
        st.binary(max_size=200) | wire.map(lambda value: value.encode("utf-8", "surrogateescape"))
    )
    def test_octets(self, data: bytes) -> None:
        """Any datagram is read or refused."""
        try:
            message = parse_message(data)
        except ParseError as error:
            self.assertIn(error.status, (400, 505, 513))
        else:
            read_all(message)

    @settings(max_examples=150, deadline=None)
    @given(mutated())
    def test_mutated(self, data: bytes) -> None:
        """Any datagram that was a message once is read or refused, and what is left can be answered."""
        try:
            message = parse_message(data)
        except ParseError as error:
            self.assertIn(error.status, (400, 505, 513))
            if error.message is not None:
                read_all(error.message)
        else:
            read_all(message)

    @settings(max_examples=80, deadline=None)
    @given(st.lists(mutated() | st.just(b"\r\n\r\n"), max_size=3), st.integers(1, 60))
    def test_streams(self, messages: list[bytes], size: int) -> None:
        """RFC 3261 §18.3: a stream gives the same in one piece and in small ones, a fault included."""

        def fed(pieces: list[bytes]) -> list[str]:
            framer = StreamFramer()
            seen = []
            for piece in pieces:
                try:
                    found = framer.feed(piece)
                except ParseError as error:
                    found = list(error.earlier)
                    seen += [
                        repr(one if isinstance(one, KeepAlive) else one.to_bytes()) for one in found
                    ]
                    seen.append(f"{error} {error.message and error.message.headers}")
                    break
                seen += [
                    repr(one if isinstance(one, KeepAlive) else one.to_bytes()) for one in found
                ]
            return seen

        data = b"".join(messages)
        pieces = [data[start : start + size] for start in range(0, len(data), size)]
        self.assertEqual(fed([data]), fed(pieces))
