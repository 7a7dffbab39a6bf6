"""The replay of ten buddies, in small."""

from twisted.trial.unittest import SynchronousTestCase

from tests.bench.traffic import VARIANTS, hour, measure


class TrafficTests(SynchronousTestCase):
    """Each extension saves what it is there for, and the watcher knows the state in the end."""

    def test_savings(self) -> None:
        """Fewer NOTIFYs or smaller bodies, and together fewest octets."""
        found = {variant.name: measure(variant, 3, 1500) for variant in VARIANTS[:6]}
        plain = found.pop("plain")
        for name, traffic in found.items():
            self.assertLess(traffic.octets, plain.octets, name)
        self.assertLess(found["conditional"].notifies, plain.notifies)
        self.assertLess(found["rate control"].notifies, plain.notifies)
        self.assertEqual(found["partial"].notifies, plain.notifies)
        self.assertLess(found["partial"].bodies, plain.bodies * 0.7)
        self.assertLess(found["content coding"].bodies, plain.bodies * 0.7)
        together = found.pop("all together")
        self.assertLess(together.octets, min(traffic.octets for traffic in found.values()))

    def test_lists(self) -> None:
        """One subscription to all has fewer packets than one to each."""
        ten, one = measure(VARIANTS[5], 3, 600), measure(VARIANTS[7], 3, 600)
        self.assertLess(one.packets, ten.packets)

    def test_same_each_time(self) -> None:
        """The same happens in every run, so that figures can be compared."""
        self.assertEqual(hour(2, 100), hour(2, 100))
