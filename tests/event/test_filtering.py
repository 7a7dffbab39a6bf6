"""Watcher filters (RFC 4660, RFC 4661)."""

from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree
from twisted.trial.unittest import SynchronousTestCase

from simplestack.documents import namespaces as ns
from simplestack.documents.filters import FilterSet, Trigger, parse_filter_set
from simplestack.documents.pidf import MEDIA_TYPE, Presence, Tuple, parse_presence
from simplestack.documents.schema import Schema
from simplestack.documents.xml import parse_content
from simplestack.event.filtering import MEDIA_TYPE as FILTER_TYPE
from simplestack.event.filtering import (
    Filtering,
    filtered,
    filtering_of,
    merged,
    triggered,
)
from simplestack.interfaces import Body
from simplestack.sip.errors import SIPError
from tests.documents.examples import DIRECTORY, examples
from tests.documents.test_filters import filter_set
from tests.documents.test_pidf import presences
from tests.event.records import subscription

PRESENTITY = "sip:presentity@example.com"
SCHEMA = Schema("all-presence")


def example(name: str) -> bytes:
    """A document of an RFC."""
    return (DIRECTORY / name).read_bytes()


def chosen(body: bytes, aor: str = PRESENTITY) -> Filtering | None:
    """The filter that counts in a document."""
    kept = merged(b"", body, aor, "presence")
    return filtering_of(subscription(aor=aor, content_type=FILTER_TYPE, body=kept))


def content(inner: str, document: bytes) -> bytes:
    """What a <what> leaves of a document."""
    found = chosen(filter_set(f'<filter id="a"><what>{inner}</what></filter>'))
    assert found is not None
    assert found.what is not None
    return filtered(Body(MEDIA_TYPE, document), found.what).data


def triggers(inner: str) -> tuple[Trigger, ...]:
    """What <trigger> elements ask for."""
    found = chosen(filter_set(f'<filter id="a">{inner}</filter>'))
    assert found is not None
    return found.triggers


def pidf(*tuples: Tuple, **fields: object) -> bytes:
    """A presence document."""
    return Presence(PRESENTITY, tuples)._replace(**fields).to_bytes()  # type: ignore[arg-type]  # the fields of Presence


class ExampleTests(SynchronousTestCase):
    """The examples of RFC 4660 §7.1."""

    document = example("rfc4660/7.1-01.xml")

    def leaves(self, filters: str, expected: str) -> None:
        """What a filter leaves of the document of §7.1."""
        found = chosen(example(filters))
        assert found is not None
        assert found.what is not None
        self.assertEqual(found.triggers, ())
        made = filtered(Body(MEDIA_TYPE, self.document), found.what)
        self.assertEqual(made.content_type, MEDIA_TYPE)
        self.assertEqual(parse_presence(made.data), parse_presence(example(expected)))

    def test_messaging(self) -> None:
        """§7.1.1: the tuples of some classes."""
        self.leaves("rfc4660/7.1.1-01.xml", "rfc4660/7.1.1-02.xml")

    def test_open(self) -> None:
        """§7.1.2: the tuples that are open."""
        self.leaves("rfc4660/7.1.2-01.xml", "rfc4660/7.1.2-02.xml")

    def test_trigger(self) -> None:
        """§7.1.3: only from closed to open."""
        found = chosen(example("rfc4660/7.1.3-01.xml"))
        assert found is not None
        self.assertIsNone(found.what)
        first, second, third = [
            example(name)
            for name in ("rfc4660/7.1-01.xml", "rfc4660/7.1.3-02.xml", "rfc4660/7.1.3-03.xml")
        ]
        self.assertFalse(triggered(first, second, found.triggers))
        self.assertTrue(triggered(first, third, found.triggers))
        self.assertFalse(triggered(third, second, found.triggers))

    def test_all_filters(self) -> None:
        """Every filter of the RFCs for presence is taken, or refused for a reason (488)."""
        taken = 0
        for each in examples("filter-set"):
            try:
                kept = merged(b"", each.data, PRESENTITY, "presence")
            except SIPError as error:
                self.assertEqual(error.status, 488)
                continue
            taken += 1
            self.assertEqual(
                [f._replace(what=None, triggers=()) for f in parse_filter_set(kept).filters],
                [f._replace(what=None, triggers=()) for f in parse_filter_set(each.data).filters],
            )
            self.assertEqual(FilterSet(parse_filter_set(kept).filters).to_bytes(), kept)
        self.assertGreater(taken, 8)

    def test_upper_case(self) -> None:
        """RFC 4661 §6.2 writes CLOSED and OPEN."""
        found = chosen(example("rfc4661/6.2-01.xml"))
        assert found is not None
        closed, open_ = pidf(Tuple("t", "closed")), pidf(Tuple("t", "open"))
        self.assertTrue(triggered(closed, open_, found.triggers))
        self.assertFalse(triggered(open_, closed, found.triggers))


class ContentTests(SynchronousTestCase):
    """<what> (RFC 4661 §3.5)."""

    # Its sphere is text, which the schema does not have.
    document = example("rfc4480/4-01.xml").replace(b"bowling league", b"<rpid:work/>")

    def check(self, inner: str) -> Presence:
        """What is left; it is valid, and no more than there was."""
        made = content(inner, self.document)
        SCHEMA.validate(parse_content(made))
        return parse_presence(made)

    def test_mandatory(self) -> None:
        """What the schema wants is there though it was not selected (§3.5.1)."""
        made = content(
            "<include>//pidf:tuple/pidf:contact</include>",
            pidf(Tuple("a", "open", "sip:a@b"), Tuple("b", "closed")),
        )
        self.assertEqual(parse_presence(made).tuples, (Tuple("a", "open", "sip:a@b"),))

    def test_namespace(self) -> None:
        """A namespace selects its elements, and no others inside them (§3.5.3, §6.4)."""
        presence = self.check(f'<include type="namespace">{ns.PIDF}</include>')
        self.assertTrue(presence.tuples)
        self.assertEqual((presence.persons, presence.devices), ((), ()))
        self.assertNotIn(b"rpid", presence.to_bytes())

    def test_exclude(self) -> None:
        """What is excluded goes with all that is in it (§3.5.2)."""
        full = parse_presence(self.document)
        presence = self.check("<exclude>//pidf:tuple/pidf:note</exclude>")
        self.assertEqual(presence.persons, full.persons)
        self.assertEqual([each.notes for each in presence.tuples], [()] * len(full.tuples))
        presence = self.check("<exclude>//pidf:tuple</exclude>")
        self.assertEqual(presence.tuples, ())

    def test_include_and_exclude(self) -> None:
        """Exceptions are made of what is included (§6.6)."""
        presence = self.check(
            f'<include type="namespace">{ns.PIDF}</include>'
            "<exclude>/pidf:presence/pidf:tuple/pidf:note</exclude>"
        )
        self.assertNotIn(b"<note", presence.to_bytes().split(b"</tuple>")[0])

    def test_exclude_of_mandatory(self) -> None:
        """A step that would make the document invalid is reversed (§3.5.2)."""
        full = parse_presence(self.document)
        for mandatory in (
            "//pidf:status",
            "//pidf:tuple/@id",
            "/pidf:presence",
            "/pidf:presence/@entity",
        ):
            self.assertEqual(self.check(f"<exclude>{mandatory}</exclude>"), full, mandatory)

    def test_attribute(self) -> None:
        """An attribute brings its element along (§3.5.1)."""
        made = content(
            "<include>//pidf:contact/@priority</include>",
            pidf(Tuple("a", "open", "sip:a@b", "0.5"), Tuple("b", "open", "sip:b@b")),
        )
        self.assertEqual(parse_presence(made).tuples, (Tuple("a", "open", "sip:a@b", "0.5"),))
        made = content(
            "<exclude>//pidf:contact/@priority</exclude>",
            pidf(Tuple("a", "open", "sip:a@b", "0.5")),
        )
        self.assertEqual(parse_presence(made).tuples, (Tuple("a", "open", "sip:a@b"),))

    def test_nothing(self) -> None:
        """Nothing selected leaves the root alone."""
        self.assertEqual(
            self.check("<include>//pidf:nothing</include>"),
            Presence(parse_presence(self.document).entity),
        )

    @settings(max_examples=80, deadline=None)
    @given(
        presences(),
        st.lists(
            st.sampled_from(
                [
                    "<include>//pidf:tuple</include>",
                    "<include>//pidf:basic</include>",
                    "<include>//rpid:activities</include>",
                    '<include>//*[@id="i1"]</include>',
                    "<include>//@id</include>",
                    "<include>/*/*/*</include>",
                    f'<include type="namespace">{ns.RPID}</include>',
                    f'<include type="namespace">{ns.DATA_MODEL}</include>',
                    "<exclude>//pidf:note</exclude>",
                    "<exclude>//*/@*</exclude>",
                    "<exclude>//*</exclude>",
                    f'<exclude type="namespace">{ns.PIDF}</exclude>',
                    f'<exclude type="namespace">{ns.RPID}</exclude>',
                ]
            ),
            min_size=1,
            max_size=4,
        ),
    )
    def test_never_more(self, presence: Presence, inner: list[str]) -> None:
        """Filtering adds nothing, and leaves what was valid valid (4660 §5.3.1)."""
        document = presence.to_bytes()
        inner.sort(reverse=True)
        made = content("".join(inner), document)
        there = _facts(etree.fromstring(document))
        self.assertLessEqual(_facts(etree.fromstring(made)), there)
        try:
            SCHEMA.validate(parse_content(document))
        except Exception:
            return
        SCHEMA.validate(parse_content(made))


def _facts(root: etree._Element) -> set[object]:
    """Everything that a document says, each with where it stands."""
    facts: set[object] = set()

    def visit(node: etree._Element, path: tuple[object, ...]) -> None:
        here = (*path, node.tag, node.get("id"))
        facts.add(here)
        facts.update([(here, name, value) for name, value in node.items()])
        if node.text and node.text.strip():
            facts.add((here, node.text.strip()))
        for child in node:
            visit(child, here)

    visit(root, ())
    return facts


class TriggerTests(SynchronousTestCase):
    """<trigger> (RFC 4661 §3.6)."""

    def happened(self, inner: str, before: bytes, after: bytes) -> bool:
        """Whether it has."""
        return triggered(before, after, triggers(f"<trigger>{inner}</trigger>"))

    def test_changed(self) -> None:
        """Any change of the value, but not one to the same value (§3.6.1)."""
        inner = "<changed>//pidf:tuple/pidf:contact</changed>"
        one, same, other = [
            pidf(Tuple("t", basic, contact))
            for basic, contact in (("open", "a:b"), ("closed", "a:b"), ("open", "a:c"))
        ]
        self.assertFalse(self.happened(inner, one, same))
        self.assertTrue(self.happened(inner, one, other))
        self.assertFalse(self.happened(inner, one, pidf()))

    def test_from_and_to(self) -> None:
        """From a value, to a value, or both (§3.6.1.1, §3.6.1.2, §3.6.1.4)."""
        closed, open_ = pidf(Tuple("t", "closed")), pidf(Tuple("t", "open"))
        for how, there, back in (
            ('from="closed"', True, False),
            ('to="open"', True, False),
            ('to="closed"', False, True),
            ('from="closed" to="open"', True, False),
            ('from="open" to="open"', False, False),
        ):
            inner = f"<changed {how}>//pidf:basic</changed>"
            self.assertEqual(self.happened(inner, closed, open_), there, how)
            self.assertEqual(self.happened(inner, open_, closed), back, how)

    def test_by(self) -> None:
        """By at least so much, in either direction (§3.6.1.3)."""
        inner = '<changed by="2">//pidf:contact</changed>'

        def valued(value: str) -> bytes:
            return pidf(Tuple("t", "open", value))

        for value, so in (("8", True), ("4", True), ("9.5", True), ("7", False), ("x", False)):
            self.assertEqual(self.happened(inner, valued("6"), valued(value)), so, value)
        self.assertTrue(
            self.happened(
                '<changed from="6.0" by="2">//pidf:contact</changed>', valued("6"), valued("8")
            )
        )

    def test_added_and_removed(self) -> None:
        """An instance of an element that comes or goes (§3.6.2, §3.6.3)."""
        one, two, other = pidf(Tuple("a")), pidf(Tuple("a"), Tuple("b")), pidf(Tuple("b"))
        for name, before, after, so in (
            ("added", one, two, True),
            ("added", two, one, False),
            ("removed", two, one, True),
            ("removed", one, two, False),
            ("added", one, other, True),
            ("removed", one, other, True),
            ("added", one, one, False),
        ):
            inner = f"<{name}>//pidf:tuple</{name}>"
            self.assertEqual(self.happened(inner, before, after), so, (name, so))

    def test_all_of_one_trigger(self) -> None:
        """All elements of a trigger must happen, and one of several triggers (§3.6)."""
        inner = '<changed to="open">//pidf:basic</changed><added>//pidf:note</added>'
        closed, open_ = pidf(Tuple("t", "closed")), pidf(Tuple("t", "open"))
        self.assertFalse(self.happened(inner, closed, open_))
        several = triggers(
            f"<trigger>{inner}</trigger><trigger><removed>//pidf:tuple</removed></trigger>"
        )
        self.assertFalse(triggered(closed, open_, several))
        self.assertTrue(triggered(closed, pidf(), several))

    def test_attributes(self) -> None:
        """Attributes change, come and go as elements do."""
        with_, other, without = [
            pidf(Tuple("t", "open", "a:b", priority)) for priority in ("0.5", "0.7", None)
        ]
        contact = "//pidf:contact/@priority"
        self.assertTrue(self.happened(f"<changed>{contact}</changed>", with_, other))
        self.assertFalse(self.happened(f"<changed>{contact}</changed>", with_, without))
        self.assertTrue(self.happened(f"<removed>{contact}</removed>", with_, without))


class MergingTests(SynchronousTestCase):
    """Filters in refreshes (RFC 4660 §3.3.3), and what is refused (§5.4)."""

    basic = "<what><include>//pidf:basic</include></what>"

    def refused(self, body: bytes, kept: bytes = b"", package: str = "presence") -> None:
        """488, with a reason."""
        error = self.assertRaises(SIPError, merged, kept, body, PRESENTITY, package)
        self.assertEqual(error.status, 488)
        self.assertTrue(error.text)

    def test_switching(self) -> None:
        """A filter is disabled and enabled by its id, without its content (§3.3.3)."""
        kept = merged(
            b"", filter_set(f'<filter id="a">{self.basic}</filter>'), PRESENTITY, "presence"
        )
        self.assertIsNotNone(chosen(kept))
        off = merged(kept, filter_set('<filter id="a" enabled="false"/>'), PRESENTITY, "presence")
        self.assertIsNone(
            filtering_of(subscription(aor=PRESENTITY, content_type=FILTER_TYPE, body=off))
        )
        on = merged(off, filter_set('<filter id="a"/>'), PRESENTITY, "presence")
        self.assertEqual(on, kept)
        self.assertEqual(
            merged(on, filter_set('<filter id="a" remove="true"/>'), PRESENTITY, "presence"), b""
        )

    def test_other_prefixes(self) -> None:
        """Filters of several documents keep their own prefixes' meaning."""
        kept = merged(
            b"", filter_set(f'<filter id="a">{self.basic}</filter>'), PRESENTITY, "presence"
        )
        second = (
            f'<filter-set xmlns="{ns.SIMPLE_FILTER}"><ns-bindings>'
            f'<ns-binding prefix="pidf" urn="{ns.RPID}"/></ns-bindings>'
            '<filter id="b" domain="example.org"><what>'
            '<include>//pidf:mood[@a="pidf:x"]</include></what></filter></filter-set>'
        ).encode()
        both = parse_filter_set(merged(kept, second, PRESENTITY, "presence")).filters
        spaces = [dict(each.what.include[0].bindings) for each in both if each.what is not None]
        texts = [each.what.include[0].text for each in both if each.what is not None]
        self.assertEqual(spaces[0][texts[0][2:].partition(":")[0]], ns.PIDF)
        self.assertEqual(spaces[1][texts[1][2:].partition(":")[0]], ns.RPID)
        self.assertIn('"pidf:x"', texts[1])

    def test_resources(self) -> None:
        """Filters for others are ignored; the resource's own goes before its domain's (§3.3.2)."""
        own = "<what><include>//pidf:contact</include></what>"
        for filters, wanted in (
            (f'<filter id="a" uri="sip:other@example.com">{self.basic}</filter>', None),
            (f'<filter id="a" domain="example.org">{self.basic}</filter>', None),
            (f'<filter id="a" domain="Example.COM">{self.basic}</filter>', "basic"),
            (f'<filter id="a" uri="{PRESENTITY}">{self.basic}</filter>', "basic"),
            (f'<filter id="a" uri="pres:presentity@EXAMPLE.com">{self.basic}</filter>', "basic"),
            (
                f'<filter id="a" domain="example.com">{self.basic}</filter>'
                f'<filter id="b">{own}</filter>',
                "contact",
            ),
            (
                f'<filter id="a" domain="example.com">{self.basic}</filter>'
                f'<filter id="b" enabled="false">{own}</filter>',
                "basic",
            ),
        ):
            found = chosen(filter_set(filters))
            if wanted is None:
                self.assertIsNone(found)
            else:
                assert found is not None
                assert found.what is not None
                self.assertTrue(found.what.include[0].text.endswith(wanted), filters)

    def test_empty_what(self) -> None:
        """An empty <what> is as if it were not there (§5.4)."""
        found = chosen(
            filter_set(
                '<filter id="a"><what/><trigger><changed>//pidf:basic</changed></trigger></filter>'
            )
        )
        assert found is not None
        self.assertIsNone(found.what)

    def test_refused(self) -> None:
        """What is not understood or can't be is refused with 488 and a reason (§5.4)."""
        basic = self.basic
        self.refused(b"<filter-set")
        self.refused(b"<presence/>")
        self.refused(filter_set(""))
        self.refused(filter_set('<filter id="a"/>'))
        self.refused(filter_set('<filter id="a" remove="true"/>'))
        self.refused(filter_set(f'<filter id="a">{basic}</filter><filter id="b">{basic}</filter>'))
        self.refused(
            filter_set(
                f'<filter id="a">{basic}</filter><filter id="b" uri="{PRESENTITY}">{basic}</filter>'
            )
        )
        for bad in ("count(//*)", "//pidf:basic | //x", "//unbound:x", "//*//*//*", "x"):
            what = f"<what><include>{bad}</include></what>"
            self.refused(filter_set(f'<filter id="a">{what}</filter>'))
        for other in (b'package="reg"', b'package="presence.winfo"'):
            body = filter_set(f'<filter id="a">{basic}</filter>')
            self.refused(body.replace(b"<filter-set", b"<filter-set " + other))
        many = "<include>//pidf:basic</include>" * 41
        self.refused(filter_set(f'<filter id="a"><what>{many}</what></filter>'))

    def test_too_many_together(self) -> None:
        """The limit holds for what comes together in refreshes as well (§8)."""
        thirty = "<include>//pidf:basic</include>" * 30
        kept = merged(
            b"",
            filter_set(f'<filter id="a"><what>{thirty}</what></filter>'),
            PRESENTITY,
            "presence",
        )
        self.refused(
            filter_set(f'<filter id="b" domain="x.org"><what>{thirty}</what></filter>'), kept
        )
