"""What one request can cost at the limits: no answer takes long, whatever is sent."""

import time
from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from simplestack.xcap.selectors import MAX_URI
from tests.xcap.owner import ATTRIBUTE, ELEMENT, LISTS, AnyXML, Owner, shipped

INDEX = "/resource-lists/users/sip:bill@example.com/index"
TESTS = "/tests/users/sip:bill@example.com/index"
OPEN = b'<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists">'
CLOSE = b"</resource-lists>"
#: The octets that a document may have.
MOST = 262_144
#: Seconds of CPU, not of the clock: a busy machine makes no test fail.
SECONDS = 2.0


def filled(piece: Callable[[int], bytes], before: bytes = b"<a>", after: bytes = b"</a>") -> bytes:
    """A document of pieces, as large as documents may be."""
    pieces: list[bytes] = []
    size, number = len(before) + len(after), 0
    while True:
        new = piece(number)
        size += len(new)
        if size > MOST:
            return before + b"".join(pieces) + after
        pieces.append(new)
        number += 1


class BoundsTests(SynchronousTestCase):
    """Each request below is built to be as dear as the limits allow."""

    def quick(self, owner: Owner, method: str, uri: str, body: bytes = b"", kind: str = "") -> int:
        """The status of an answer that takes no more than two seconds of CPU."""
        begin = time.process_time()
        status = owner(method, uri, body, kind).status
        spent = time.process_time() - begin
        self.assertLess(spent, SECONDS, (method, uri[:100], body[:100]))
        self.assertLess(status, 500)
        return status

    def test_documents(self) -> None:
        """Documents with many elements, attributes, namespaces, comments, and deep ones."""
        bodies = [
            filled(lambda number: b"<b/>"),
            filled(lambda number: b"<b%d/>" % number),
            filled(lambda number: b"<b c%d=''/>" % number),
            filled(lambda number: b"<p:b xmlns:p='urn:%d'/>" % number),
            filled(lambda number: b" c%d=''" % number, b"<a", b"/>"),
            filled(lambda number: b" xmlns:p%d='urn:%d'" % (number, number), b"<a", b"/>"),
            filled(lambda number: b"<!---->"),
            filled(lambda number: b"<!--<a--><?a a?>"),
            filled(lambda number: b"<b>" * 60 + b"</b>" * 60),
            filled(lambda number: b"&lt;"),
            filled(lambda number: b"<b>", b"", b""),
            filled(lambda number: b"<", b"", b""),
            filled(lambda number: b"<!DOCTYPE", b"<a/>", b""),
            filled(lambda number: b"<![CDATA[<]]>"),
            b"<a b='" + b"'" * (MOST - 100) + b">",
        ]
        for body in bodies:
            owner = Owner(AnyXML(), *shipped())
            if self.quick(owner, "PUT", TESTS, body, "application/xml") == 201:
                for node in ("a/b%5b1000%5d", "a/*%5b@c=%22x%22%5d", "a/b/b/b/@c", "*/*/*"):
                    self.quick(owner, "GET", f"{TESTS}/~~/{node}")
                    self.quick(owner, "PUT", f"{TESTS}/~~/{node}", b"<b/>", ELEMENT)
                    self.quick(owner, "DELETE", f"{TESTS}/~~/{node}")

    def test_lists(self) -> None:
        """The constraints and the schema of resource-lists over as many entries as there can be."""
        for piece in (
            lambda number: b"<entry uri='sip:%d'/>" % number,
            lambda number: b"<entry uri='sip:a'/>",
            lambda number: b"<entry-ref ref='%d'/>" % number,
            lambda number: b"<external anchor='http://a/%d'/>" % number,
            lambda number: b"<list name='%d'><entry uri='sip:%d'/></list>" % (number, number),
            lambda number: b"<x xmlns='urn:%d'/>" % number,
        ):
            body = filled(piece, OPEN + b"<list>", b"</list>" + CLOSE)
            owner = Owner()
            self.quick(owner, "PUT", INDEX, body, LISTS)
            node = f"{INDEX}/~~/resource-lists/list/entry"
            self.quick(
                owner, "PUT", f"{node}%5b@uri=%22sip:a%22%5d", b"<entry uri='sip:a'/>", ELEMENT
            )
            self.quick(owner, "PUT", f"{node}%5b5%5d/@uri", b"'sip:b'", ATTRIBUTE)
            self.quick(owner, "DELETE", f"{node}%5b5%5d")

    def test_uris(self) -> None:
        """Selectors as long as URIs may be; longer ones are refused unread."""
        owner = Owner(AnyXML(), *shipped())
        owner.has(TESTS, filled(lambda number: b"<a><a/></a>"))
        room = MAX_URI - len(TESTS) - 100
        for node in (
            "a/" * (room // 2),
            "*/" * (room // 2),
            "a%5b1%5d/" * (room // 10),
            "a%5b@a=%22" + "a" * room,
            "a%5b" + "1" * room + "%5d",
            "a" * room,
            "a:" * (room // 2),
            "@" * room,
            "%25" * (room // 3),
            "a?" + "xmlns(a=b)" * (room // 10),
            "a?" + "(" * room,
            "a?xmlns(a=" + "^" * room,
            "a?xmlns(a=" + "(" * (room // 2) + ")" * (room // 2) + ")",
            "~~/" * (room // 3),
        ):
            self.quick(owner, "GET", f"{TESTS}/~~/{node}")
            self.quick(owner, "PUT", f"{TESTS}/~~/{node}", b"<a/>", ELEMENT)
            self.quick(owner, "GET", f"/{node}")
        self.assertEqual(self.quick(owner, "GET", TESTS + "/" + "a" * MAX_URI), 414)

    def test_fragments(self) -> None:
        """Bodies of nodes as large as bodies may be."""
        owner = Owner(AnyXML(), *shipped())
        owner.has(TESTS, b"<a><b/></a>")
        for body in (
            b"<b>" * (MOST // 3),
            filled(lambda number: b"<c/>", b"<b>", b"</b>"),
            b" " * MOST,
            b"<b" + b" " * (MOST - 10) + b"/>",
        ):
            self.quick(owner, "PUT", f"{TESTS}/~~/a/b", body, ELEMENT)
        for body in (b'"' * MOST, b'"' + b"&" * (MOST - 2) + b'"', b'"' + b"&lt;" * 60_000 + b'"'):
            self.quick(owner, "PUT", f"{TESTS}/~~/a/b/@c", body, ATTRIBUTE)
