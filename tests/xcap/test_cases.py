"""The examples of the RFCs."""

import json
from typing import Any, ClassVar
from urllib.parse import quote

from twisted.trial.unittest import SynchronousTestCase

from simplestack.documents.resourcelists import parse_rls_services
from simplestack.state import Document
from tests.xcap.owner import DATA, AnyXML, Owner, read_http

CASES: dict[str, list[Any]] = json.loads((DATA / "xcap-cases.json").read_text())
INDEX = "/tests/users/sip:bill@example.com/index"


def example(name: str) -> bytes:
    """A document among the examples."""
    return (DATA / name).read_bytes()


def encoded(selector: str) -> str:
    """A node selector as it stands in a URI."""
    return "/~~/" + "/".join(quote(step, safe="@=:*") for step in selector.split("/"))


class CaseTests(SynchronousTestCase):
    """RFC 4825 §6 and §8.2.3 by its examples."""

    def test_selectors(self) -> None:
        """Each node selector of §6.3, §6.4 and §10 selects what the RFC says."""
        expected = {
            "the first <watcher> element, sip:userA@example.net": b"sip:userA@example.net</watcher>",
            "the first <baz> child of <bar>": b"<baz/>",
            "the second <baz> child of <bar>": b'<ns2:baz xmlns:ns2="urn:test:namespace2-uri"/>',
        }
        for case in CASES["select"]:
            owner = Owner(AnyXML(case["default_namespace"]))
            owner.has(INDEX, example(case["document"]))
            query = "?" + quote(case["query"], safe="()=:") if case["query"] else ""
            answer = owner.get(INDEX + encoded(case["selector"]) + query)
            selects = case["selects"]
            if selects is None:
                self.assertEqual(answer.status, 404, case)
            else:
                self.assertEqual(answer.status, 200, case)
                self.assertTrue(answer.body.endswith(expected.get(selects, selects.encode())))

    def test_insertions(self) -> None:
        """Each insertion of §8.2.3 yields the RFC's document octet for octet."""
        inserted = [case for case in CASES["insert"] if "result" in case]
        self.assertGreater(len(inserted), 6)
        for case in inserted:
            owner = Owner(AnyXML())
            owner.has(INDEX, example(case["document"]))
            uri = INDEX + encoded(case["selector"])
            answer = owner.put(uri, case["body"].encode())
            self.assertEqual(answer.status, 201, case)
            self.assertEqual(owner.get(INDEX).body, example(case["result"]), case)
            self.assertEqual(owner.get(uri).body, case["body"].encode())

    def test_requests_that_are_not_idempotent(self) -> None:
        """§7.4 and §7.7: what a GET would not find again can't be inserted."""
        refused = [case for case in CASES["insert"] if "conflict" in case]
        self.assertEqual(len(refused), 2)
        for case in refused:
            owner = Owner()
            owner.has(
                "/rls-services/users/sip:bill@example.com/index",
                b'<rls-services xmlns="urn:ietf:params:xml:ns:rls-services">'
                b'<service uri="sip:good-friends@example.com"><list/></service></rls-services>',
                "application/rls-services+xml",
            )
            before = owner.state.documents.copy()
            method, path, fields, body = read_http(case["request"])
            answer = owner(method, path, body, fields["content-type"])
            self.assertEqual((answer.status, answer.condition), (409, case["conflict"]))
            self.assertEqual(owner.state.documents, before)

    def test_sequence_of_section_13(self) -> None:
        """RFC 4825 §13: Bill's requests one after the other, with the documents it shows."""
        owner = Owner()
        statuses = []
        answers = []
        for name in CASES["sequence"]:
            if not example(name).startswith((b"PUT", b"GET", b"DELETE")):
                continue
            method, path, fields, body = read_http(name)
            # "URIs are line-folded for readability"
            body = body.replace(b"/\nsip", b"/sip").replace(b"lists/\nlist", b"lists/list")
            answer = owner(method, path, body, fields.get("content-type", ""))
            statuses.append((method, answer.status))
            answers.append(answer)
        self.assertEqual(
            statuses,
            [
                ("PUT", 201),
                ("PUT", 201),
                ("PUT", 201),
                ("GET", 200),
                ("PUT", 201),
                ("DELETE", 200),
                ("GET", 200),
            ],
        )
        fetched = example("rfc4825/13-05.http").replace(b"\r\n", b"\n").partition(b"\n\n")[2]
        self.assertEqual(answers[3].body.strip(), fetched.strip())
        self.assertIn(b"</entry></list>", answers[3].body)
        self.assertEqual(answers[-1].body, b'"sip:nancy@example.com"')
        self.assertEqual(answers[-1].headers["Content-Type"], "application/xcap-att+xml")
        tags = [answer.headers["ETag"] for answer in answers]
        self.assertEqual(tags[2], tags[3])
        self.assertEqual(tags[5], tags[6])
        self.assertEqual(len(set(tags)), 5)


class OtherExampleTests(SynchronousTestCase):
    """The XCAP messages of RFC 4827, 5874 and 5875."""

    DOCUMENT: ClassVar[bytes] = b'<?xml version="1.0"?>\n<doc id="bar"><note>a note</note></doc>'

    def test_manipulated_presence(self) -> None:
        """RFC 4827 §11: a presence document is put, then the note of one of its tuples."""
        owner = Owner(aor="sip:someone@example.com")
        method, path, fields, body = read_http("rfc4827/11-01.http")
        answer = owner(method, path, body, fields["content-type"])
        self.assertEqual(answer.status, 201, answer)
        method, path, fields, note = read_http("rfc4827/11-02.http")
        self.assertEqual(
            owner(method, path, note, fields["content-type"], if_match='"xyz"').status, 412
        )
        tag = answer.headers["ETag"]
        answer = owner(method, path, note, fields["content-type"], if_match=tag)
        self.assertEqual(answer.status, 200, answer)
        old = b"<note>I'm reading mail a couple of times a week</note>"
        self.assertEqual(owner.get(path.partition("/~~")[0]).body, body.replace(old, note))

    def test_documents_come_and_go(self) -> None:
        """RFC 5874 A.1, 5875 A.3: a document is created, replaced, deleted."""
        owner = Owner(aor="sip:joe@example.com")
        statuses = []
        for name in ("A.1-01", "A.1-02", "A.1-03"):
            method, path, fields, body = read_http(f"rfc5874/{name}.http")
            statuses.append(owner(method, path, body, fields.get("content-type", "")).status)
        self.assertEqual(statuses, [201, 200, 200])
        self.assertEqual(owner.state.documents, {})

    def test_nodes_come_and_go(self) -> None:
        """RFC 5874 A.2 and A.3, 5875 A.4 and A.5: elements, the root, an attribute."""
        for folder, names in (
            ("rfc5874", ("A.2-01", "A.2-02", "A.2-03", "A.3-01")),
            ("rfc5875", ("A.4-01", "A.4-02", "A.4-03", "A.5-01", "A.5-02")),
        ):
            owner = Owner(aor="sip:joe@example.com")
            owner.has("/tests/users/sip:joe@example.com/index", self.DOCUMENT)
            statuses = []
            for name in names:
                method, path, fields, body = read_http(f"{folder}/{name}.http")
                statuses.append(owner(method, path, body, fields.get("content-type", "")).status)
            self.assertEqual(statuses[:3], [201, 201, 201])
            self.assertEqual(set(statuses[3:]), {200})
            found = owner.get("/tests/users/sip:joe@example.com/index").body
            if folder == "rfc5874":
                self.assertEqual(
                    found,
                    b'<?xml version="1.0"?>\n<doc><note>a note</note><foo>this is a new element'
                    b"</foo><bar>this is a bar element\n</bar>"
                    b"<foobar>this is a foobar element</foobar></doc>",
                )
            else:
                self.assertEqual(
                    found, b'<?xml version="1.0"?>\n<doc>This is a new root element</doc>'
                )

    def test_index_of_services(self) -> None:
        """RFC 4826 §4.4.8: the global index is the union of all users' services."""
        owner = Owner(admins=["sip:rls@example.com"])
        documents = []
        for number in ("01", "02"):
            body = example(f"rfc4826/4.4.8-{number}.xml").replace(
                b"<rls-services>",
                b'<rls-services xmlns="urn:ietf:params:xml:ns:rls-services"'
                b' xmlns:rl="urn:ietf:params:xml:ns:resource-lists">',
            )
            aor = f"sip:user{number}@example.com"
            documents.append(
                Document(aor, "rls-services/index", "rls-services", "index", number, "", body, 1.0)
            )
        answer = owner.get(
            "/rls-services/global/index",
            identity="sip:rls@example.com",
            gathered=tuple(documents),
        )
        self.assertEqual(answer.status, 200)
        found = parse_rls_services(answer.body)
        expected = parse_rls_services(example("rfc4826/4.4.8-03.xml"))
        self.assertEqual([each.uri for each in found], [each.uri for each in expected])
        self.assertEqual([each.list for each in found], [each.list for each in expected])
        node = owner.get(
            "/rls-services/global/index/~~/rls-services/service%5b2%5d/@uri",
            identity="sip:rls@example.com",
            gathered=tuple(documents),
        )
        self.assertEqual(node.body, b'"sip:marketing@example.com"')
        # "its access MUST be restricted to trusted elements within domain of the server"
        self.assertEqual(owner.get("/rls-services/global/index").status, 403)
