"""What other servers tell in parts, as it adds up (RFC 3680 §5.2, RFC 3858 §4.1)."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from simplestack.documents.errors import DocumentError
from simplestack.documents.reginfo import Contact, RegInfo, Registration, parse_reginfo
from simplestack.documents.watcherinfo import (
    Watcher,
    WatcherInfo,
    WatcherList,
    parse_watcherinfo,
)
from simplestack.event.remotestate import TABLES, RegistrationTable, WatcherTable

AOR = "sip:zoe@example.net"
#: By id whether it goes on.
_changes = st.dictionaries(st.sampled_from("abcd"), st.booleans())


def reginfo(version: int, state: str, changes: dict[str, bool]) -> bytes:
    """A document with these contacts."""
    contacts = tuple(
        Contact(
            id_,
            "active" if lives else "terminated",
            "registered" if lives else "expired",
            f"sip:{id_}@192.0.2.1",
            callid=str(version),
        )
        for id_, lives in changes.items()
    )
    return RegInfo(version, state, (Registration(AOR, "r", "active", contacts),)).to_bytes()


def watcherinfo(version: int, state: str, changes: dict[str, bool]) -> bytes:
    """A document with these watchers."""
    watchers = tuple(
        Watcher(
            f"sip:{id_}@x",
            id_,
            "active" if lives else "terminated",
            "approved" if lives else "timeout",
            expiration=version,
        )
        for id_, lives in changes.items()
    )
    return WatcherInfo(version, state, (WatcherList(AOR, "presence", watchers),)).to_bytes()


class TablesTests(SynchronousTestCase):
    @given(st.lists(_changes, min_size=1))
    def test_any(self, history: list[dict[str, bool]]) -> None:
        """Full state and what changes it are what there is; who has ended is told once."""
        registrations, watchers = RegistrationTable(), WatcherTable()
        expected: dict[str, tuple[bool, int]] = {}
        for version, changes in enumerate(history):
            state = "partial" if version else "full"
            expected = {id_: each for id_, each in expected.items() if each[0]}
            expected.update({id_: (lives, version) for id_, lives in changes.items()})
            found = registrations.take("type", reginfo(version, state, changes))
            assert found is not None
            info = parse_reginfo(found[1])
            self.assertEqual((found[0], info.version, info.state), ("type", version, "full"))
            ((_, _, _, contacts),) = info.registrations
            self.assertEqual(
                {each.id: (each.state == "active", int(each.callid or "")) for each in contacts},
                expected,
            )
            found = watchers.take("type", watcherinfo(version, state, changes))
            assert found is not None
            told = parse_watcherinfo(found[1])
            self.assertEqual((told.version, told.state), (version, "full"))
            ((_, _, here),) = told.lists
            self.assertEqual(
                {each.id: (each.status == "active", each.expiration) for each in here}, expected
            )

    def test_missed(self) -> None:
        """A gap in the versions gives nothing until there is full state again."""
        for table, make in ((RegistrationTable(), reginfo), (WatcherTable(), watcherinfo)):
            self.assertIsNone(table.take("", make(0, "partial", {"a": True})))
            self.assertIsNotNone(table.take("", make(1, "full", {"a": True})))
            self.assertIsNone(table.take("", make(3, "partial", {"b": True})))
            self.assertIsNone(table.take("", make(4, "partial", {"b": True})))
            found = table.take("", make(5, "full", {"c": True}))
            assert found is not None
            self.assertEqual((b'id="c"' in found[1], b'id="a"' in found[1]), (True, False))

    def test_bad(self) -> None:
        """What can't be read, or is too much, is told."""
        many = {f"i{number}": True for number in range(1001)}
        for make, kind in ((reginfo, RegistrationTable), (watcherinfo, WatcherTable)):
            self.assertRaises(DocumentError, kind().take, "", make(0, "full", many))
            self.assertRaises(DocumentError, kind().take, "", b"<x/>")
        self.assertEqual(len(TABLES), 3)
