"""Lookups through twisted.names."""

import os
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.names import dns, error
from twisted.trial.unittest import SynchronousTestCase

from simplestack.net import dns as lookups
from simplestack.net.dns import Lookups, NaptrRecord, SrvRecord


class Resolver:
    """A DNS server that has these records, and counts the questions."""

    def __init__(self, *records: tuple[str, Any]) -> None:
        self.records = records
        self.asked: list[tuple[str, str]] = []
        self.result: Any = None

    def _answer(self, kind: str, name: str, number: int) -> "Deferred[Any]":
        self.asked.append((kind, name))
        if self.result is not None:
            result: Deferred[Any] = self.result
            return result
        answers = [
            dns.RRHeader(name, payload.TYPE, ttl=payload.ttl, payload=payload)
            for owner, payload in self.records
            if owner == name and payload.TYPE in (number, dns.CNAME)
        ]
        if not answers:
            return fail(error.DNSNameError())
        return succeed((answers, [], []))

    def lookupNamingAuthorityPointer(self, name: str, timeout: Any) -> "Deferred[Any]":
        """See IResolver."""
        return self._answer("NAPTR", name, dns.NAPTR)

    def lookupService(self, name: str, timeout: Any) -> "Deferred[Any]":
        """See IResolver."""
        return self._answer("SRV", name, dns.SRV)

    def lookupAddress(self, name: str, timeout: Any) -> "Deferred[Any]":
        """See IResolver."""
        return self._answer("A", name, dns.A)

    def lookupIPV6Address(self, name: str, timeout: Any) -> "Deferred[Any]":
        """See IResolver."""
        return self._answer("AAAA", name, dns.AAAA)


class LookupsTests(SynchronousTestCase):
    def make(self, *records: tuple[str, Any], hosts: str = "") -> Lookups:
        """Lookups that ask a resolver with these records."""
        directory = self.mktemp()
        os.mkdir(directory)
        self.hosts = Path(directory, "hosts")
        self.hosts.write_text(hosts)
        self.clock = Clock()
        self.resolver = Resolver(*records)
        return Lookups(self.clock, self.clock.seconds, self.resolver, str(self.hosts))

    def ask(self, lookups: Lookups, kind: str, name: str) -> list[Any]:
        """The answer, which is there at once."""
        return list(self.successResultOf(Deferred.fromCoroutine(lookups.ask(kind, name))))

    def test_records(self) -> None:
        """Each kind comes as a value; other kinds beside it are passed over."""
        names = self.make(
            (
                "example.com",
                dns.Record_NAPTR(50, 60, b"s", b"SIP+D2U", b"", b"_sip._udp.example.com", ttl=60),
            ),
            ("_sip._udp.example.com", dns.Record_SRV(1, 2, 5070, b"a.example.com", ttl=60)),
            ("a.example.com", dns.Record_CNAME(b"b.example.com", ttl=60)),
            ("a.example.com", dns.Record_A("192.0.2.1", ttl=60)),
            ("a.example.com", dns.Record_AAAA("2001:db8::1", ttl=60)),
        )
        self.assertEqual(
            self.ask(names, "NAPTR", "example.com"),
            [NaptrRecord(50, 60, "s", "SIP+D2U", "", "_sip._udp.example.com")],
        )
        self.assertEqual(
            self.ask(names, "SRV", "_sip._udp.Example.com."),
            [SrvRecord(1, 2, 5070, "a.example.com")],
        )
        self.assertEqual(self.ask(names, "A", "a.example.com"), ["192.0.2.1"])
        self.assertEqual(self.ask(names, "AAAA", "a.example.com"), ["2001:db8::1"])

    def test_kept_for_the_ttl(self) -> None:
        """An answer is asked for again when its TTL is over, and no sooner."""
        names = self.make(("a.example.com", dns.Record_A("192.0.2.1", ttl=60)))
        self.ask(names, "A", "a.example.com")
        self.clock.advance(59)
        self.ask(names, "A", "A.example.com")
        self.assertEqual(len(self.resolver.asked), 1)
        self.clock.advance(2)
        self.ask(names, "A", "a.example.com")
        self.assertEqual(len(self.resolver.asked), 2)

    def test_nothing_is_kept_too(self) -> None:
        """That a name has no records is remembered for a while."""
        names = self.make()
        self.assertEqual(self.ask(names, "SRV", "example.com"), [])
        self.assertEqual(self.ask(names, "SRV", "example.com"), [])
        self.assertEqual(len(self.resolver.asked), 1)
        self.clock.advance(31)
        self.ask(names, "SRV", "example.com")
        self.assertEqual(len(self.resolver.asked), 2)

    def test_no_answer(self) -> None:
        """A server that does not answer, or with an error, is the same as no records."""
        names = self.make()
        self.resolver.result = Deferred()
        waiting = Deferred.fromCoroutine(names.ask("A", "example.com"))
        self.assertNoResult(waiting)
        self.clock.advance(8)
        self.assertEqual(self.successResultOf(waiting), [])
        self.resolver.result = fail(error.DNSServerError())
        self.assertEqual(self.ask(names, "A", "example.org"), [])

    def test_bounded(self) -> None:
        """However many names are asked for, what is kept is bounded."""
        self.patch(lookups, "_BOUND", 8)
        names = self.make()
        for number in range(100):
            self.ask(names, "A", f"{number}.example.com")
        self.assertLessEqual(len(names._known), 8)

    def test_hosts(self) -> None:
        """The hosts file comes first, and a name in it needs no DNS at all."""
        names = self.make(
            ("box", dns.Record_A("192.0.2.9", ttl=60)),
            hosts="# comment\n192.0.2.5 Box box.local # more\n2001:db8::5 box\nbad line\n",
        )
        self.assertEqual(self.ask(names, "A", "box"), ["192.0.2.5"])
        self.assertEqual(self.ask(names, "AAAA", "BOX."), ["2001:db8::5"])
        self.assertEqual(self.ask(names, "NAPTR", "box"), [])
        self.assertEqual(self.ask(names, "AAAA", "box.local"), [])
        self.assertEqual(self.resolver.asked, [])

    def test_hosts_change(self) -> None:
        """A change of the hosts file counts at once."""
        names = self.make(hosts="192.0.2.5 box\n")
        self.assertEqual(self.ask(names, "A", "box"), ["192.0.2.5"])
        self.hosts.write_text("192.0.2.66 box\n")
        self.assertEqual(self.ask(names, "A", "box"), ["192.0.2.66"])

    def test_localhost(self) -> None:
        """RFC 6761 §6.3: localhost is this machine, whatever the DNS says."""
        names = self.make(("localhost", dns.Record_A("192.0.2.9", ttl=60)))
        self.assertEqual(self.ask(names, "A", "localhost"), ["127.0.0.1"])
        self.assertEqual(self.ask(names, "AAAA", "a.localhost"), ["::1"])
        self.assertEqual(self.resolver.asked, [])

    def test_system(self) -> None:
        """Without a resolver the servers in resolv.conf are asked, the present ones."""
        self.make()
        configuration = self.hosts.with_name("resolv.conf")
        configuration.write_text("search example.com\nnameserver 192.0.2.53\nnameserver x\n")
        names = Lookups(self.clock, self.clock.seconds, None, str(self.hosts), str(configuration))
        self.assertEqual(names._of_system().servers, [("192.0.2.53", 53)])
        self.assertIs(names._of_system(), names._of_system())
        configuration.write_text("nameserver 2001:db8::53\n")
        self.assertEqual(names._of_system().servers, [("2001:db8::53", 53)])
        configuration.unlink()
        self.assertEqual(names._of_system().servers, [("127.0.0.1", 53)])
        self.assertEqual(self.clock.getDelayedCalls(), [])
