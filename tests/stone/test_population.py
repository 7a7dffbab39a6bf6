"""Who watches whom, when what is due, and how often."""

from collections import Counter
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from simplestack.stone.configuration import Load
from simplestack.stone.population import pairs, user_count, watcher_number, watchers_of
from simplestack.stone.scenarios import SCENARIOS, mix, users_of
from simplestack.stone.schedule import Source, moments
from simplestack.stone.tally import PUBLISH, REFRESH, REGISTER, RESUBSCRIBE, SUBSCRIBE

_LOADS = st.builds(
    Load,
    presentities=st.integers(1, 40),
    watchers=st.integers(0, 40),
    mutual=st.booleans(),
    watchers_each=st.floats(0, 50),
    distribution=st.sampled_from(["fixed", "zipf"]),
    exponent=st.floats(0.1, 3),
    seed=st.integers(0, 5),
)


class PairsTest(SynchronousTestCase):
    @settings(max_examples=60, deadline=None)
    @given(_LOADS)
    def test_pairs(self, load: Load) -> None:
        """As many as asked for as far as there are watchers; nobody twice, nobody himself."""
        made = list(pairs(load))
        counts = watchers_of(load)
        most = load.presentities - 1 if load.mutual else load.watchers
        wanted = min(round(load.watchers_each * load.presentities), most * load.presentities)
        self.assertEqual(len(made), wanted)
        self.assertEqual(len(set(made)), wanted)
        self.assertEqual(
            Counter(presentity for _, presentity in made),
            Counter({at: count for at, count in enumerate(counts) if count}),
        )
        if load.mutual:
            self.assertFalse([pair for pair in made if pair[0] == pair[1]])
        watching = Counter(watcher for watcher, _ in made)
        if made and not load.mutual:
            self.assertLessEqual(max(watching.values()) - min(watching.values()), 1)

    @settings(max_examples=40, deadline=None)
    @given(_LOADS)
    def test_the_same_everywhere(self, load: Load) -> None:
        """Every process makes the same of a seed."""
        self.assertEqual(list(pairs(load)), list(pairs(load)))

    def test_zipf(self) -> None:
        """The r-th presentity has 1/r of the watchers of the first (Zipf's law)."""
        counts = watchers_of(
            Load(presentities=100, watchers=1000, watchers_each=10, distribution="zipf")
        )
        self.assertEqual(sum(counts), 1000)
        self.assertEqual(counts, sorted(counts, reverse=True))
        self.assertTrue(9 < counts[0] / counts[9] < 11)

    def test_numbers(self) -> None:
        """Watchers follow the presentities, unless those watch each other."""
        self.assertEqual(watcher_number(Load(presentities=5), 2), 7)
        self.assertEqual(watcher_number(Load(presentities=5, mutual=True), 2), 2)
        self.assertEqual(user_count(Load(presentities=5, watchers=3)), 8)
        self.assertEqual(user_count(Load(presentities=5, watchers=3, mutual=True)), 5)


class ScheduleTest(SynchronousTestCase):
    """An open loop: moments follow from the rate alone."""

    def test_processes_take_turns(self) -> None:
        """Two processes at half the rate make together what one makes."""
        both = sorted([*moments(10, 12, 5, 0.25, None), *moments(10, 12, 5, 0.75, None)])
        one = list(moments(10, 12, 10, 0.5, None))
        self.assertEqual([round(each, 9) for each in both], [round(each, 9) for each in one])

    def test_poisson(self) -> None:
        """As many on average, and not one interval like the other."""
        made = list(moments(0, 100, 50, 0.5, Random(1)))
        self.assertTrue(4700 < len(made) < 5300)
        self.assertEqual(len(set(made)), len(made))

    def test_no_rate(self) -> None:
        """What has no rate is never due."""
        self.assertEqual(list(moments(0, 10, 0, 0.5, None)), [])

    def test_at_most_so_many(self) -> None:
        """After an outage everybody comes back once."""
        source = Source(PUBLISH, moments(0, 10, 1, 0.0, None), 3)
        seen = []
        while source.due < 100:
            seen.append(source.due)
            source.advance()
        self.assertEqual(seen, [0, 1, 2])


class MixTest(SynchronousTestCase):
    """How the rate of a run is spread over the kinds of operations."""

    def test_refresh(self) -> None:
        """Part of the PUBLISHes only refresh (RFC 3903 §4.1)."""
        self.assertEqual(
            mix(Load(scenario="publish", refresh=0.25), 100), {PUBLISH: 75.0, REFRESH: 25.0}
        )

    def test_outage(self) -> None:
        """So many clients per second, each with all its subscriptions."""
        load = Load(scenario="refresh-storm", presentities=10, watchers=10, watchers_each=3)
        self.assertEqual(mix(load, 2), {REGISTER: 2, PUBLISH: 2, SUBSCRIBE: 6})

    def test_habits_make_the_rate(self) -> None:
        """The rate of a day is that of all requests, and says how many people make it."""
        for scenario in ("mixed-day", "ten-buddies"):
            load = Load(scenario=scenario, presentities=100, mutual=True, watchers_each=10)
            made = mix(load, 50)
            self.assertAlmostEqual(sum(made.values()), 50)
            people = users_of(load, 50)
            assert people is not None
            hourly = {habit.kind: habit.hourly for habit in SCENARIOS[scenario].habits}
            self.assertAlmostEqual(made[PUBLISH], people * hourly[PUBLISH] / 3600)
            self.assertAlmostEqual(made[RESUBSCRIBE], people * 10 * hourly[RESUBSCRIBE] / 3600)

    def test_every_rate_has_a_source(self) -> None:
        """What people do in an hour is documented."""
        for scenario in SCENARIOS.values():
            for habit in scenario.habits:
                self.assertTrue(habit.source)
        self.assertIsNone(users_of(Load(scenario="fan-out"), 10))
