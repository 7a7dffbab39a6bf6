"""A list of another server within a list (RFC 4662 §5.6, §6, §7.4)."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from simplestack.documents.errors import DocumentError
from simplestack.documents.multipart import Part, parse_multipart, write_multipart
from simplestack.documents.rlmi import Instance, ListName, Resource, Rlmi, parse_rlmi
from simplestack.event.nestedlist import NestedList
from simplestack.sip.fields.media import parse_media_type

TYPE = 'multipart/related;type="application/rlmi+xml";start="<root@x>";boundary=b'
PIDF = "application/pidf+xml"


def notify(
    version: int,
    full: bool,
    states: dict[str, bytes | None],
    kind: str = PIDF,
    cids: str = "",
    kinds: dict[str, str] | None = None,
) -> bytes:
    """A body that tells these states; None is a resource without one, b"" one that has ended."""
    resources, parts = [], []
    for number, (user, state) in enumerate(states.items()):
        cid = f"{cids}{version}.{number}@x"
        instances: tuple[Instance, ...] = ()
        if state:
            instances = (Instance("1", "active", None, cid),)
            what = (kinds or {}).get(user, kind)
            parts.append(Part((("Content-ID", f"<{cid}>"), ("Content-Type", what)), state))
        elif state is not None:
            instances = (Instance("1", "terminated", "rejected"),)
        resources.append(Resource(f"sip:{user}@x", (ListName(user),), instances))
    rlmi = Rlmi("sip:list@x", version, full, (ListName("Theirs"),), tuple(resources))
    root = (("Content-ID", "<root@x>"), ("Content-Type", "application/rlmi+xml"))
    return write_multipart([Part(root, rlmi.to_bytes()), *parts], "b")


def shown(content_type: str, body: bytes) -> dict[str, bytes | None]:
    """The states in a body, which has all of them."""
    media_type = parse_media_type(content_type)
    root, *others = parse_multipart(body, media_type.param("boundary") or "")
    rlmi = parse_rlmi(root.body)
    assert rlmi.full_state
    assert f"<{root.content_id}>" == media_type.param("start")
    parts = {part.content_id: part.body for part in others}
    assert len(parts) == len(others)
    return {
        each.uri[4:-2]: None
        if not each.instances
        else parts[each.instances[0].cid]
        if each.instances[0].cid
        else b""
        for each in rlmi.resources
    }


_states = st.dictionaries(
    st.sampled_from("abcd"), st.one_of(st.none(), st.just(b""), st.binary(min_size=1, max_size=5))
)


class NestedTests(SynchronousTestCase):
    @given(_states, st.lists(_states))
    def test_any(
        self, first: dict[str, bytes | None], later: list[dict[str, bytes | None]]
    ) -> None:
        """Whatever partial states come, the body has what they add up to (§5.6)."""
        nested = NestedList()
        expected = dict(first)
        found = nested.take(TYPE, notify(0, True, first))
        for version, states in enumerate(later, 1):
            expected.update(states)
            found = nested.take(TYPE, notify(version, False, states))
        assert found is not None
        self.assertEqual(shown(*found), expected)

    def test_missed(self) -> None:
        """A gap in the versions is no state (§5.6.2); full state is one again."""
        nested = NestedList()
        self.assertIsNone(nested.take(TYPE, notify(0, False, {"a": b"x"})))
        assert nested.take(TYPE, notify(4, True, {"a": b"x"})) is not None
        self.assertIsNone(nested.take(TYPE, notify(6, False, {"a": b"y"})))
        found = nested.take(TYPE, notify(9, True, {"b": b"z"}))
        assert found is not None
        self.assertEqual(shown(*found), {"b": b"z"})

    def test_loops(self) -> None:
        """A list in a list elsewhere is not shown, so that no loop grows for ever (§7.4)."""
        nested = NestedList()
        found = nested.take(TYPE, notify(0, True, {"a": b"x"}, TYPE))
        assert found is not None
        self.assertEqual(shown(*found), {"a": None})

    def test_same_ids(self) -> None:
        """Who uses a Content-ID again has the state of one resource shown, not a mixture."""
        nested = NestedList()
        first = notify(0, True, {"a": b"x"})
        nested.take(TYPE, first)
        again = notify(0, False, {"b": b"y"}).replace(b'version="0"', b'version="1"')
        found = nested.take(TYPE, again)
        assert found is not None
        self.assertEqual(shown(*found), {"a": b"x", "b": None})

    def test_large(self) -> None:
        """Octets over the bound stand without an instance."""
        nested = NestedList()
        found = nested.take(TYPE, notify(0, True, {"a": b"x" * 40_000, "b": b"y" * 40_000}))
        assert found is not None
        self.assertEqual(shown(*found), {"a": b"x" * 40_000, "b": None})

    def test_bad(self) -> None:
        """What is no list is told."""
        for content_type, body in (
            (TYPE, b"--b\r\n\r\nx\r\n--b--"),
            (TYPE, b"x"),
            ("multipart/related", notify(0, True, {})),
            (TYPE.replace("root", "other"), notify(0, True, {})),
            ("?", b""),
        ):
            self.assertRaises(DocumentError, NestedList().take, content_type, body)
