"""Thousands of random rules and documents, against a plain evaluation of RFC 5025."""

from random import Random

from lxml import etree
from twisted.trial.unittest import SynchronousTestCase

from simplestack.documents.pidf import parse_presence
from simplestack.documents.presrules import parse_ruleset
from simplestack.roles.rules import Permissions, combined, matching, permitted
from tests.documents.examples import meaning
from tests.roles.oracle import HANDLINGS, INPUTS, SHOWS, handling_of, shown_of

WATCHERS = (
    "sip:bob@example.com",
    "sip:Bob@example.com",
    "sip:bob@example.co",
    "sips:bob@example.com",
    "sip:carol@sub.example.com",
    "tel:+123",
    "",
)
DOMAINS = ("example.com", "EXAMPLE.COM", "example.co", "sub.example.com", "com")
CLASSES = ("work", "Work", "home")
SPHERES = ("work", "home", "gone")
CONTACTS = ("sip:alice@example.com", "sip:alice@192.0.2.1", "mailto:a@b", "tel:+49")
TIME = "2026-01-01T00:00:0{}Z"
NOW = 1767225600


class Chance:
    """Makes documents."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)

    def some(self, share: float = 0.5) -> bool:
        """Whether."""
        return self.random.random() < share

    def of(self, *choices: str) -> str:
        """One of them."""
        return self.random.choice(choices)

    def identity(self, uri: str) -> str:
        """A URI, perhaps with another case of its host."""
        if "@" in uri and self.some(0.3):
            user, _, host = uri.partition("@")
            return f"{user}@{host.upper()}"
        return uri

    def conditions(self) -> str:
        """The conditions of a rule; often none."""
        made = ""
        if self.some(0.7):
            members = ""
            for _ in range(self.random.choice((0, 1, 1, 2))):
                if self.some():
                    members += f'<one id="{self.identity(self.of(*WATCHERS[:-1]))}"/>'
                    continue
                domain = f' domain="{self.of(*DOMAINS)}"' if self.some() else ""
                excepted = "".join(
                    f'<except id="{self.identity(self.of(*WATCHERS[:-1]))}"/>'
                    if domain or self.some()
                    else f'<except domain="{self.of(*DOMAINS)}"/>'
                    for _ in range(self.random.choice((0, 0, 1, 2)))
                )
                members += f"<many{domain}>{excepted}</many>"
            made += f"<identity>{members}</identity>"
        if self.some(0.15):
            made += f'<sphere value="{self.of("work", "Home work", "home gone")}"/>'
        if self.some(0.15):
            start, end = sorted(self.random.sample(range(10), 2))
            made += f"<validity><from>{TIME.format(start)}</from>"
            made += f"<until>{TIME.format(end)}</until></validity>"
        if self.some(0.05):
            made += '<x:moon xmlns:x="urn:x"/>'
        return made

    def transformations(self) -> list[str]:
        """What a rule gives, one permission each."""
        made = []
        for name, kinds in (
            ("services", ("class", "occurrence-id", "service-uri", "service-uri-scheme")),
            ("persons", ("class", "occurrence-id")),
            ("devices", ("class", "occurrence-id", "deviceID")),
        ):
            members = ""
            if self.some(0.4):
                members = f"<all-{name}/>"
            else:
                for _ in range(self.random.choice((0, 1, 2))):
                    kind = self.of(*kinds)
                    value = {
                        "class": self.of(*CLASSES),
                        "occurrence-id": f"{name[0]}{self.random.randrange(3)}",
                        "service-uri": self.of(*CONTACTS),
                        "service-uri-scheme": self.of("sip", "tel", "mailto"),
                        "deviceID": f"urn:device:{self.random.randrange(3)}",
                    }[kind]
                    members += f"<{kind}>{value}</{kind}>"
            if members:
                made.append(f"<provide-{name}>{members}</provide-{name}>")
        for name in SHOWS:
            if self.some(0.25):
                made.append(f"<{name}>{self.of('true', 'true', 'false')}</{name}>")
        if self.some(0.4):
            made.append(f"<provide-user-input>{self.of(*INPUTS)}</provide-user-input>")
        if self.some(0.2):
            made.append(
                f'<provide-unknown-attribute ns="urn:x" name="{self.of("one", "two")}">'
                f"{self.of('true', 'false')}</provide-unknown-attribute>"
            )
        if self.some(0.08):
            made.append("<provide-all-attributes/>")
        return made

    def rule(self) -> tuple[str, str, list[str]]:
        """Conditions, handling or "", transformations."""
        handling = self.of("allow", "allow", "allow", *HANDLINGS) if self.some(0.9) else ""
        return self.conditions(), handling, self.transformations()

    def extensions(self) -> str:
        """What RPID and others say of a component."""
        made = ""
        for name, content in (
            ("activities", "<r:away/>"),
            ("mood", "<r:happy/>"),
            ("place-is", "<r:audio><r:noisy/></r:audio>"),
            ("place-type", "<r:other>ship</r:other>"),
            ("privacy", "<r:text/>"),
            ("relationship", "<r:family/>"),
            ("service-class", "<r:electronic/>"),
            ("sphere", "<r:home/>"),
            ("status-icon", "http://example.com/icon"),
            ("time-offset", "60"),
        ):
            if self.some(0.3):
                made += f"<r:{name}>{content}</r:{name}>"
        if self.some(0.4):
            last = f' last-input="{TIME.format(1)}"' if self.some() else ""
            threshold = ' idle-threshold="60"' if self.some() else ""
            made += f"<r:user-input{last}{threshold}>idle</r:user-input>"
        for name in ("one", "two"):
            if self.some(0.3):
                made += f'<x:{name} xmlns:x="urn:x">{self.random.randrange(9)}</x:{name}>'
        return made

    def class_(self) -> str:
        """Perhaps a class."""
        return f"<r:class>{self.of(*CLASSES)}</r:class>" if self.some() else ""

    def document(self) -> bytes:
        """A presence document."""
        made = ""
        for place in range(self.random.randrange(3)):
            extra = '<x:more xmlns:x="urn:x">1</x:more>' if self.some(0.3) else ""
            device = f"<dm:deviceID>urn:device:{place}</dm:deviceID>" if self.some() else ""
            contact = f"<contact>{self.of(*CONTACTS)}</contact>" if self.some(0.8) else ""
            made += (
                f'<tuple id="s{place}"><status><basic>{self.of("open", "closed")}</basic>{extra}'
                f"</status>{self.extensions()}{self.class_()}{device}{contact}"
                + ("<note>a note</note>" if self.some() else "")
                + (f"<timestamp>{TIME.format(3)}</timestamp>" if self.some() else "")
                + "</tuple>"
            )
        if self.some():
            made += "<note>of all</note>"
        for kind, short in (("person", "p"), ("device", "d")):
            for place in range(self.random.randrange(3)):
                made += f'<dm:{kind} id="{short}{place}">{self.extensions()}{self.class_()}'
                if kind == "device":
                    made += f"<dm:deviceID>urn:device:{place}</dm:deviceID>"
                made += "<dm:note>one more</dm:note>" if self.some() else ""
                made += f"<dm:timestamp>{TIME.format(4)}</dm:timestamp>" if self.some() else ""
                made += f"</dm:{kind}>"
        if self.some(0.3):
            made += '<x:whole xmlns:x="urn:x"/>'
        return (
            '<presence xmlns="urn:ietf:params:xml:ns:pidf"'
            ' xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model"'
            ' xmlns:r="urn:ietf:params:xml:ns:pidf:rpid"'
            f' entity="sip:alice@example.com">{made}</presence>'
        ).encode()


Rule = tuple[str, str, list[str]]


def written(rules: list[Rule]) -> bytes:
    """The rules as a document."""
    made = ""
    for place, (conditions, handling, given) in enumerate(rules):
        action = f"<p:sub-handling>{handling}</p:sub-handling>" if handling else ""
        transformations = "".join(given).replace("</", "</p:")
        transformations = transformations.replace("<", "<p:").replace("<p:/p:", "</p:")
        made += (
            f'<rule id="r{place}"><conditions>{conditions}</conditions><actions>{action}</actions>'
            f"<transformations>{transformations}</transformations></rule>"
        )
    return (
        '<ruleset xmlns="urn:ietf:params:xml:ns:common-policy"'
        f' xmlns:p="urn:ietf:params:xml:ns:pres-rules">{made}</ruleset>'
    ).encode()


def fast(
    rules: bytes, document: bytes, watcher: str, sphere: str | None, now: float
) -> tuple[str, bytes]:
    """What the service makes of them."""
    decision = combined(matching(parse_ruleset(rules), watcher, sphere, now))
    assert isinstance(decision.permissions, Permissions)
    return decision.handling, permitted(parse_presence(document), decision.permissions).to_bytes()


def facts(document: bytes) -> set[tuple[str, ...]]:
    """All that a document says, with where it says so."""
    found: set[tuple[str, ...]] = set()
    for component in etree.fromstring(document):
        where = f"{component.tag} {component.get('id')}"
        found.add((where, (component.text or "").strip()))
        for node in component.iterdescendants():
            value = (node.text or "").strip()
            found.add((where, str(node.tag), value))
            found |= {(where, str(node.tag), str(k), str(v)) for k, v in node.attrib.items()}
    return found


class OracleTests(SynchronousTestCase):
    def test_thousands(self) -> None:
        """Handling, and every element that is shown, are those of the text (RFC 4745, RFC 5025)."""
        allowed = 0
        for seed in range(3000):
            chance = Chance(seed)
            rules = written([chance.rule() for _ in range(chance.random.randrange(1, 5))])
            document = chance.document()
            watcher = chance.of(*WATCHERS)
            sphere = chance.of(*SPHERES) if chance.some() else None
            now = NOW + chance.random.randrange(11)
            handling, shown = fast(rules, document, watcher, sphere, now)
            tree = etree.fromstring(rules)
            self.assertEqual(handling, handling_of(tree, watcher, sphere, now), seed)
            if handling != "allow":
                continue
            allowed += 1
            expected = shown_of(etree.fromstring(document), tree, watcher, sphere, now)
            self.assertEqual(meaning(etree.fromstring(shown)), meaning(expected), seed)
        self.assertGreater(allowed, 1000)

    def test_less(self) -> None:
        """A rule or a permission less never shows more, nor lets in whom it did not."""
        for seed in range(1500):
            chance = Chance(seed)
            rules = [chance.rule() for _ in range(chance.random.randrange(1, 5))]
            document = chance.document()
            given = chance.of(*WATCHERS), chance.of(*SPHERES), NOW + chance.random.randrange(11)
            before, shown = fast(written(rules), document, *given)
            place = chance.random.randrange(len(rules))
            conditions, handling, permissions = rules[place]
            if permissions and chance.some(0.8):
                less = list(permissions)
                less.pop(chance.random.randrange(len(less)))
                rules[place] = conditions, handling, less
            else:
                del rules[place]
            after, less_shown = fast(written(rules), document, *given)
            self.assertLessEqual(HANDLINGS.index(after), HANDLINGS.index(before), seed)
            if after == "allow":
                self.assertLessEqual(facts(less_shown), facts(shown), seed)
