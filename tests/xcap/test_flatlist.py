"""Lists and what they refer to, as flat lists."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from simplestack.documents.resourcelists import Service, parse_rls_services
from simplestack.sip.errors import SIPError
from simplestack.state import Document
from simplestack.xcap.flatlist import Evaluator, FlatList, ListLimits, flat_body, target_of

ROOT = "http://xcap.example.com"
ALICE = "sip:alice@example.com"
BELOW = f"resource-lists/users/{ALICE}/index/~~/resource-lists/"
OPEN = '<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists">'
SERVICES = (
    '<rls-services xmlns="urn:ietf:params:xml:ns:rls-services"'
    ' xmlns:rl="urn:ietf:params:xml:ns:resource-lists"><service uri="sip:l@example.com">{}'
    "</service></rls-services>"
)


def entries(*users: str) -> str:
    """Entries of a list."""
    return "".join(f'<entry uri="sip:{user}@example.com"/>' for user in users)


def service(content: str) -> Service:
    """A service."""
    return parse_rls_services(SERVICES.format(content).encode())[0]


def resource_list(name: str) -> Service:
    """A service that refers to a list of Alice's."""
    return service(f"<resource-list>{ROOT}/{BELOW}list%5b@name=%22{name}%22%5d</resource-list>")


class FlatListCase(SynchronousTestCase):
    def setUp(self) -> None:
        """No documents yet."""
        self.documents: dict[tuple[str, str], Document] = {}
        self.remote: dict[str, bytes] = {}

    def store(self, content: str, owner: str = ALICE, name: str = "index") -> None:
        """Store a resource-lists document."""
        id_ = f"resource-lists/{name}"
        body = f"{OPEN}{content}</resource-lists>".encode()
        self.documents[owner, id_] = Document(
            owner, id_, "resource-lists", name, "e", "application/resource-lists+xml", body, 0.0
        )

    def fetch_remote(self, url: str) -> bytes:
        """What another server has."""
        if url not in self.remote:
            raise SIPError(502, text=f"{url} is gone")
        return self.remote[url]

    def flat(self, what: Service, owner: str = ALICE, **more: object) -> FlatList:
        """Evaluate."""
        evaluator = Evaluator(
            lambda aor, id_: self.documents.get((aor, id_)),
            owner,
            root=ROOT,
            fetch_remote=self.fetch_remote,
            **more,  # type: ignore[arg-type]  # the keywords are the caller's to get right
        )
        return evaluator.evaluate(what)

    def users(self, flat: FlatList) -> list[str]:
        """The user parts of the entries."""
        return [entry.uri[4:].partition("@")[0] for entry in flat.entries]

    def refused(self, what: Service, text: str, **more: object) -> None:
        """It is 502, and the text says why."""
        error = self.assertRaises(SIPError, self.flat, what, **more)
        self.assertEqual(error.status, 502)
        self.assertIn(text, error.text)


class ReferenceTests(FlatListCase):
    def test_by_value(self) -> None:
        """Entries of the service's own list, nested ones as well, each once (RFC 4826 §4.4.6)."""
        own = "".join(f'<rl:entry uri="sip:{user}@example.com"/>' for user in ("bob", "carol"))
        inner = '<rl:entry uri="sip:dave@example.com"/><rl:entry uri="sip:carol@example.com"/>'
        flat = self.flat(service(f"<list>{own}<rl:list>{inner}</rl:list></list>"))
        self.assertEqual(self.users(flat), ["bob", "carol", "dave"])
        self.assertFalse(flat.sources)

    def test_empty_entry(self) -> None:
        """An entry without a URI is not one "that can be used to service subscriptions" (§4.5)."""
        self.store(
            f'<list name="l"><entry uri=""/>{entries("bob")}</list><list><entry uri=""/></list>'
        )
        self.assertEqual(self.users(self.flat(resource_list("l"))), ["bob"])

    def test_root_in_other_letters(self) -> None:
        """A host has no case, and a port may be the one that is meant without it (§3.4.7)."""
        root = ROOT.replace("xcap.example.com", "XCAP.Example.COM:80")
        self.assertNotEqual(root, ROOT)
        self.store(
            f'<list name="l"><external anchor="{root}/{BELOW}list%5b2%5d"/></list>'
            f'<list name="m">{entries("bob")}</list>'
        )
        self.assertEqual(self.users(self.flat(resource_list("l"))), ["bob"])

    def test_resource_list(self) -> None:
        """A ``resource-list`` is dereferenced; the name comes with it, and what it was made of."""
        self.store(
            '<list name="a"/><list name="friends"><display-name>Friends</display-name>'
            f"{entries('bob')}</list>"
        )
        flat = self.flat(resource_list("friends"))
        self.assertEqual(self.users(flat), ["bob"])
        assert flat.name is not None
        self.assertEqual(flat.name.text, "Friends")
        self.assertEqual(flat.sources, {(ALICE, "resource-lists/index")})

    def test_line_breaks(self) -> None:
        """References are folded in the RFC's examples, and white space is not part of a URI."""
        self.store(f'<list name="l1">{entries("bob")}</list>')
        broken = resource_list("l1")
        reference = (broken.resource_list or "").replace("index", "in\n   dex")
        self.assertEqual(self.users(self.flat(broken._replace(resource_list=reference))), ["bob"])

    def test_entry_ref(self) -> None:
        """``entry-ref`` brings the entry with its name (§3.3)."""
        self.store(
            '<list name="l"><entry uri="sip:petri@example.com"><display-name xml:lang="fi">P'
            "</display-name></entry></list>"
            f'<list name="m"><entry-ref ref="{BELOW}list%5b@name=%22l%22%5d/'
            'entry%5b@uri=%22sip:petri@example.com%22%5d"/></list>'
        )
        (entry,) = self.flat(resource_list("m")).entries
        self.assertEqual(entry.name, ("P", "fi"))

    def test_external(self) -> None:
        """``external`` on this server is read without HTTP; elsewhere it is fetched."""
        self.store(
            f'<list name="l"><external anchor="{ROOT}/{BELOW}list%5b2%5d"/>'
            f'<external anchor="http://elsewhere.example.org/list"/></list>'
            f'<list name="m">{entries("bob")}</list>'
        )
        self.remote["http://elsewhere.example.org/list"] = (
            b'<list xmlns="urn:ietf:params:xml:ns:resource-lists">'
            b'<entry uri="sip:zoe@example.org"/></list>'
        )
        flat = self.flat(resource_list("l"))
        self.assertEqual([entry.aor for entry in flat.entries][1], "sip:zoe@example.org")
        self.assertEqual(self.users(flat), ["bob", "zoe"])

    def test_not_found(self) -> None:
        """What can't be resolved is 502 and named; a lenient evaluation goes on (§4.4.6)."""
        self.store(
            f'<list name="l">{entries("bob")}<entry-ref ref="{BELOW}list%5b9%5d/entry"/>'
            f'<external anchor="http://elsewhere.example.org/gone"/>{entries("carol")}</list>'
        )
        self.refused(resource_list("l"), "list%5b9%5d/entry is not there")
        self.assertEqual(self.users(self.flat(resource_list("l"), lenient=True)), ["bob", "carol"])
        self.refused(resource_list("nothing"), "nothing")
        flat = self.flat(resource_list("nothing"), lenient=True)
        self.assertEqual(flat.entries, ())
        # It would come to live if the list were made.
        self.assertEqual(flat.sources, {(ALICE, "resource-lists/index")})

    def test_wrong_kind(self) -> None:
        """An entry-ref must name an entry, an external a list (§4.4.6)."""
        self.store(
            f'<list name="l">{entries("bob")}</list>'
            f'<list name="m"><entry-ref ref="{BELOW}list%5b1%5d"/></list>'
            f'<list name="n"><external anchor="{ROOT}/{BELOW}list%5b1%5d/entry"/></list>'
        )
        self.refused(resource_list("m"), "is not an entry")
        self.refused(resource_list("n"), "is not a list")

    def test_cycle(self) -> None:
        """A list that contains itself is 502, not for ever (§4.4.6)."""
        self.store(
            f'<list name="l"><external anchor="{ROOT}/{BELOW}list%5b2%5d"/></list>'
            f'<list name="m"><external anchor="{ROOT}/{BELOW}list%5b2%5d"/></list>'
        )
        self.refused(resource_list("l"), "leads back")

    def test_others(self) -> None:
        """Nobody's list shows what is in the documents of another (§3.4.9)."""
        bob = "sip:bob@example.com"
        self.store(f'<list name="secret">{entries("mallory")}</list>', owner=bob)
        reference = f"resource-lists/users/{bob}/index/~~/resource-lists/list%5b1%5d"
        self.store(f'<list name="l"><external anchor="{ROOT}/{reference}"/></list>')
        self.refused(resource_list("l"), "not a document of")
        flat = self.flat(resource_list("l"), owner="")
        self.assertEqual(self.users(flat), ["mallory"])

    def test_without_root(self) -> None:
        """Where the operator does not say what the XCAP root is, users of ours are here."""
        self.store(f'<list name="l">{entries("bob")}</list>')
        evaluator = Evaluator(
            lambda aor, id_: self.documents.get((aor, id_)), ALICE, domains={"example.com"}
        )
        self.assertEqual(self.users(evaluator.evaluate(resource_list("l"))), ["bob"])

    def test_limits(self) -> None:
        """Entries beyond the limit are left out and counted; too many references are 502."""
        users = [f"u{number}" for number in range(12)]
        self.store(
            f'<list name="l">{entries(*users)}</list><list name="m">'
            + "".join(
                f'<entry-ref ref="{BELOW}list%5b1%5d/entry%5b{number}%5d"/>'
                for number in range(1, 7)
            )
            + "</list>"
        )
        flat = self.flat(resource_list("l"), limits=ListLimits(entries=10))
        self.assertEqual((len(flat.entries), flat.omitted), (10, 2))
        self.refused(resource_list("m"), "references", limits=ListLimits(references=5))

    def test_octets(self) -> None:
        """What is referred to is read as long as it is not too much, be it the same every time.

        A user's list that named his longest one 99 times took three seconds, with each SUBSCRIBE.
        """
        same = "".join(
            f'<external anchor="{ROOT}/{BELOW}list%5b1%5d?xmlns(a={number})"/>'
            for number in range(9)
        )
        self.store(f'<list name="l">{entries(*"abcdefgh")}</list><list name="m">{same}</list>')
        self.assertEqual(self.users(self.flat(resource_list("m"))), [*"abcdefgh"])
        (document,) = self.documents.values()
        limits = ListLimits(octets=len(document.body) + 1500)
        self.refused(resource_list("m"), "octets", limits=limits)
        flat = self.flat(resource_list("m"), limits=limits, lenient=True)
        self.assertEqual(self.users(flat), [*"abcdefgh"])

    def test_documents_are_read_once(self) -> None:
        """However many entries refer to a document, or name one and the same service."""
        references = "".join(
            f'<entry-ref ref="{BELOW}list%5b1%5d/entry%5b{number}%5d"/>' for number in (1, 2)
        )
        spellings = "".join(f'<entry uri="sip:n@example.com;x={each}"/>' for each in "abc")
        self.store(f'<list>{entries("a", "b")}</list><list name="m">{references}{spellings}</list>')
        fetched: list[str] = []
        asked: list[str] = []

        def fetch(aor: str, id_: str) -> Document | None:
            fetched.append(id_)
            return self.documents.get((aor, id_))

        def nested(aor: str) -> Service | None:
            asked.append(aor)
            return (
                service("<list><rl:entry uri='sip:c@example.com'/></list>") if "n@" in aor else None
            )

        evaluator = Evaluator(fetch, ALICE, root=ROOT, nested=nested)
        self.assertEqual(self.users(evaluator.evaluate(resource_list("m"))), [*"abc"])
        self.assertEqual(fetched, ["resource-lists/index"])
        self.assertEqual(asked.count("sip:n@example.com"), 1)


class BodyTests(SynchronousTestCase):
    def test_example(self) -> None:
        """Figure 1 of RFC 5367."""
        body = f'{OPEN}<list><entry uri="sip:bill@example.com" /><entry uri="sip:joe@example.org" /></list></resource-lists>'
        flat = flat_body(body.encode())
        self.assertEqual(
            [entry.aor for entry in flat.entries], ["sip:bill@example.com", "sip:joe@example.org"]
        )

    def test_refused(self) -> None:
        """What can't be read is 400, with the entry that is wrong."""
        for content, text in (
            ("<list", "list"),
            ("<list/>", "no entry"),
            ('<list><entry uri="tel:+49"/></list>', "tel:+49"),
            ('<list><entry uri="sip:a b@@"/></list>', "sip:a b@@"),
        ):
            body = f"{OPEN}{content}</resource-lists>".encode()
            error = self.assertRaises(SIPError, flat_body, body)
            self.assertEqual(error.status, 400)
            self.assertIn(text, error.text)

    def test_schemes(self) -> None:
        """Schemes that can be subscribed to: sip, sips, pres (RFC 4826 §4.4.6)."""
        self.assertEqual(target_of("pres:bob@example.com"), "sip:bob@example.com")
        self.assertEqual(target_of("sips:bob@example.com;user=phone"), "sip:bob@example.com")
        self.assertIsNone(target_of("tel:+123"))
        self.assertIsNone(target_of("sip:example.com"))

    @settings(max_examples=60)
    @given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
    def test_anything(self, body: bytes) -> None:
        """Whatever the octets are, the answer is a list or 400."""
        try:
            flat_body(b'<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists">' + body)
        except SIPError as error:
            self.assertEqual(error.status, 400)
