"""What is made of the counts: results, the knee, the comparison, the page."""

import os
import re
import subprocess
import sys
from typing import Any
from xml.etree import ElementTree

from matplotlib.figure import Figure
from twisted.trial.unittest import SynchronousTestCase

from simplestack.stone.calibration import judged, scaled
from simplestack.stone.comparison import compared, paired
from simplestack.stone.configuration import Configuration, Load, Server, from_values
from simplestack.stone.controller import Step
from simplestack.stone.errors import StoneError
from simplestack.stone.finding import Bounds, Search, passes
from simplestack.stone.processes import Processes, Usage
from simplestack.stone.report import _latency, _success, page
from simplestack.stone.results import Sample, closing_lines, lines_of, step_result
from simplestack.stone.tally import PUBLISH, SUBSCRIBE, Tally


def tally_of(started: int, succeeded: int, told: int, missing: int, answered: int = 10) -> Tally:
    """What a process might have counted."""
    made = Tally()
    made.started[PUBLISH], made.succeeded[PUBLISH] = started, succeeded
    for _ in range(succeeded):
        made.answers[PUBLISH].note(2000)
    made.notified, made.missing = told, missing
    for _ in range(told):
        made.notify.note(5000)
    made.messages = {"PUBLISH": started, "PUBLISH 2xx": answered, "NOTIFY": told}
    made.error("PUBLISH: 503 Service Unavailable")
    return made


def step_of(rate: float = 10.0, busy: float = 0.5, **counts: int) -> dict[str, Any]:
    """The result of a step of two processes, 2 s long, at a server of half a core."""
    step = Step(rate, 0.0, 2.0)
    step.finished = [
        {"cpu": busy * 2, "opened": 3, "resumed": 2},
        {"cpu": 0.2, "opened": 1, "resumed": 1},
    ]
    numbers = {"started": 10, "succeeded": 10, "told": 50, "missing": 0, **counts}
    step.tallies = [tally_of(**numbers).values(), tally_of(**numbers).values()]
    samples = (Sample(1.0, Usage(5.0, 1000), 7.0), Sample(3.5, Usage(6.25, 3000), 8.0))
    return step_result(Load(), step, samples, True)


def result_of(*steps: dict[str, Any]) -> dict[str, Any]:
    """A whole result."""
    return {
        "format": 1,
        "title": "a <run>",
        "date": "2026-01-01T00:00:00+00:00",
        "machine": {"cpu": "z80", "cores": 2, "system": "Linux"},
        "configuration": Configuration().values(),
        "calibration": None,
        "subscriptions": 100,
        "memory_per_subscription": 1234.5,
        "steps": list(steps),
        "knee": None,
    }


class StepTest(SynchronousTestCase):
    def test_success(self) -> None:
        """Of all operations, and all NOTIFYs that had to come, so many succeeded."""
        made = step_of(succeeded=8, missing=10)
        self.assertEqual(made["success"], (16 + 100) / (20 + 120))
        self.assertEqual(made["errors"]["NOTIFY: never came"], 20)
        self.assertEqual(made["errors"]["PUBLISH: 503 Service Unavailable"], 2)
        self.assertEqual(made["messages_per_second"], 70)
        self.assertEqual(made["notify"]["times"]["count"], 100)
        self.assertEqual(round(made["notify"]["times"]["p99"], 3), 0.005)

    def test_connections(self) -> None:
        """How many were made again, and how many of them resumed a TLS session (RFC 8446 §2.2)."""
        made = step_of()
        self.assertEqual(made["connections"], {"opened": 4, "resumed": 3})
        self.assertIn("4 connections made again, 3 resumed", "\n".join(lines_of(made)))

    def test_withheld(self) -> None:
        """A subscription that stays pending is no success, and is told as what it is."""
        tally = Tally()
        tally.started[SUBSCRIBE] = tally.succeeded[SUBSCRIBE] = 4
        tally.withheld = 3
        tally.first.note(1000)
        step = Step(1.0, 0.0, 1.0)
        step.tallies = [tally.values()]
        made = step_result(Load(), step, None, False)
        self.assertEqual(made["success"], 5 / 8)
        self.assertEqual(made["errors"], {"NOTIFY: pending, the watcher is not allowed": 3})

    def test_cpu_per_operation(self) -> None:
        """The server's CPU between the two looks, for the time that was counted, by operation."""
        made = step_of(answered=8)
        self.assertEqual(made["server"]["busy"], 0.5)
        self.assertEqual(made["server"]["memory"], 3000)
        # What was answered in that time, and not what was due in it and answered in time later.
        self.assertEqual(made["server"]["cpu_per_operation"], 0.5 * 2 / 16)
        self.assertEqual(made["operations_per_second"], 8)

    def test_first_notify_is_late(self) -> None:
        """A first NOTIFY after the limit is no success."""
        tally = Tally()
        tally.started[SUBSCRIBE] = tally.succeeded[SUBSCRIBE] = 2
        tally.first.note(1000)
        tally.first.note(5_000_000)
        tally.first_late = 1
        step = Step(1.0, 0.0, 1.0)
        step.tallies = [tally.values()]
        made = step_result(Load(), step, None, False)
        self.assertEqual(made["success"], 3 / 4)
        self.assertEqual(made["errors"], {"SUBSCRIBE: NOTIFY later than 4 s": 1})

    def test_the_generator_as_bound(self) -> None:
        """A process of the generator that has no CPU left is the bound, and it is said."""
        self.assertFalse(step_of()["generator"]["bound"])
        made = step_of(busy=0.97)
        self.assertTrue(made["generator"]["bound"])
        self.assertIn("IT WAS THE BOUND", "\n".join(lines_of(made)))

    def test_against_the_calibration(self) -> None:
        """A rate that fails where the sink would have failed says nothing about the server."""
        calibration = {"capacity": 11.0}
        self.assertTrue(judged(step_of(missing=10), calibration)["generator"]["bound"])
        self.assertFalse(judged(step_of(), calibration)["generator"]["bound"])
        self.assertFalse(judged(step_of(missing=10), {"capacity": 99.0})["generator"]["bound"])
        self.assertFalse(judged(step_of(missing=10), None)["generator"]["bound"])

    def test_a_sink_is_small(self) -> None:
        """The calibration keeps what costs the generator time, on fewer users."""
        made = scaled(
            from_values(
                {
                    "load": {"presentities": 9999, "watchers": 9999, "scenario": "refresh-storm"},
                    "server": {"transport": "tls", "host": "192.0.2.1", "watch": ["x"]},
                    "report": {"json": "x"},
                }
            ),
            5999,
        )
        self.assertEqual((made.server, made.report.json), (Server("127.0.0.1", 5999, "tcp"), ""))
        self.assertEqual((made.load.scenario, made.load.presentities), ("fan-out", 200))


class SearchTest(SynchronousTestCase):
    """The knee: the highest rate that is borne."""

    def found(self, knee: float, start: float) -> tuple[Search, list[dict[str, Any]]]:
        """Search at a server that bears so much."""
        search, steps = Search(start, Bounds()), []
        while (rate := search.next()) is not None:
            steps.append(step_of(rate, missing=0 if rate <= knee else 10))
            search.take(steps[-1])
            self.assertLess(len(steps), 25)
        return search, steps

    def test_found(self) -> None:
        """It is found to one part in twenty, from below and from above."""
        for knee, start in ((730, 100), (730, 100_000), (100, 100), (99, 100)):
            search, steps = self.found(knee, start)
            self.assertTrue(search.low <= knee < search.high, (knee, start))
            self.assertLessEqual(search.high, search.low * 1.05)
            made = search.knee(steps)
            self.assertEqual((made["rate"], made["not_borne"]), (search.low, search.high))

    def test_too_few_users(self) -> None:
        """Where more can't be asked for, what was borne is the knee, and it is said."""
        search, steps = Search(100, Bounds(), 730), []
        while (rate := search.next()) is not None:
            steps.append(step_of(rate))
            search.take(steps[-1])
        self.assertEqual([step["rate"] for step in steps], [100, 200, 400, 730])
        knee = search.knee(steps)
        self.assertEqual((knee["rate"], knee["not_borne"], knee["most"]), (730, None, True))
        result = result_of(*steps) | {"knee": knee}
        self.assertIn("not enough users", "\n".join(closing_lines(result)))

    def test_nothing_is_borne(self) -> None:
        """A server that bears nothing ends the search, too."""
        search, steps = self.found(0, 100)
        self.assertEqual(search.knee(steps)["rate"], 0)

    def test_bounds(self) -> None:
        """99.9 % must succeed, and 99 % of the NOTIFYs come in time."""
        self.assertTrue(passes(step_of(), Bounds()))
        self.assertFalse(passes(step_of(missing=1), Bounds()))
        self.assertFalse(passes(step_of(), Bounds(p99=0.004)))
        self.assertFalse(passes(step_of(told=0), Bounds(p99=0.001)))
        # A server that answers all of it within a long limit, but later and later.
        self.assertTrue(passes(step_of(answered=10), Bounds()))
        self.assertFalse(passes(step_of(answered=9), Bounds()))
        self.assertIn("it fell behind", "\n".join(lines_of(step_of(answered=9))))


class ComparisonTest(SynchronousTestCase):
    def test_pairs(self) -> None:
        """Steps are compared at the same rate; two runs of one step always."""
        a, b, c = step_of(10), step_of(20), step_of(30)
        self.assertEqual(paired([a, b], [b, c]), [(a, None), (b, b), (None, c)])
        self.assertEqual(paired([a], [c]), [(a, c)])

    def test_lines(self) -> None:
        """Figures stand side by side, with how far they are apart."""
        lines = compared(result_of(step_of(10)), result_of(step_of(10, told=25)))
        line = next(each for each in lines if each.startswith("messages/s"))
        self.assertEqual(line.split(), ["messages/s", "70", "45", "-35.7%"])
        self.assertIn("A: 1,234 octets per subscription", lines)


class PageTest(SynchronousTestCase):
    """One page, with everything in it."""

    def test_page(self) -> None:
        """Three plots as SVG in the page, nothing from elsewhere, no markup from names."""
        made = page([result_of(step_of(10), step_of(20), step_of(30, missing=10))])
        plots = re.findall(r"<svg.*?</svg>", made, re.S)
        self.assertEqual(len(plots), 3)
        for plot in plots:
            ElementTree.fromstring(plot)
        self.assertNotIn("<run>", made)
        self.assertFalse(re.search(r"(src|href)=['\"]http", made))
        self.assertIn("NOTIFY: never came", made)
        self.assertIn("1,234" if "1,234" in made else "1234 octets", made)

    def test_scale_of_times(self) -> None:
        """The times can be read off, however near they are to each other."""
        made = page([result_of(step_of(10))])
        plot = re.findall(r"<svg.*?</svg>", made, re.S)[2]
        self.assertGreater(plot.count('id="ytick_'), 1)

    def test_scales(self) -> None:
        """Memory begins at nothing, and has room above; times go between powers of ten with labels."""
        result = result_of(step_of(10), step_of(20))
        figure = Figure()
        _success(figure, ["a"], [result])
        memory = figure.axes[1]
        self.assertEqual(memory.get_ylim(), (0, 0.003 * 1.1))
        self.assertEqual(figure.axes[0].get_ylim()[1], 101)
        figure = Figure()
        _latency(figure, ["a"], [result])
        (axes,) = figure.axes
        self.assertEqual(axes.get_ylim(), (1, 10))
        self.assertEqual(list(axes.xaxis.get_minorticklocs()), [])
        self.assertEqual([axes.yaxis.get_major_formatter()(each) for each in (1, 10)], ["1", "10"])

    def test_interrupted(self) -> None:
        """A run that was cut short says so on its page, and beside another."""
        result = result_of(step_of(10)) | {"interrupted": "the dog"}
        self.assertIn("cut short, these are the steps that were over: the dog", page([result]))
        self.assertIn("B: cut short: the dog", compared(result_of(step_of(10)), result))

    def test_two(self) -> None:
        """Two results side by side."""
        made = page([result_of(step_of(10)), result_of(step_of(10, busy=0.95))])
        self.assertEqual(len(re.findall("<svg", made)), 3)
        self.assertIn("a &lt;run&gt; (A)", made)
        self.assertIn("the generator was the bound", made)

    def test_closing(self) -> None:
        """The knee is told with the users who make such a load."""
        result = result_of(step_of(10))
        result["knee"] = {**Search(1, Bounds()).knee([]), "rate": 10.0, "users": 1200.0}
        self.assertIn("as 1,200 users make", "\n".join(closing_lines(result)))


class ProcessesTest(SynchronousTestCase):
    def test_own(self) -> None:
        """CPU and memory of a process, by its number."""
        made = Processes([str(os.getpid())])
        before = made.usage()
        sum(range(300_000))
        after = made.usage()
        self.assertGreater(after.cpu, before.cpu)
        self.assertGreater(after.memory, 1 << 20)
        self.assertIn(os.getpid(), made.pids())

    def test_not_who_has_started_us(self) -> None:
        """Shells in whose command line the words stand because ours has them are not the server."""
        program = (
            "from simplestack.stone.processes import _matching\n"
            "from simplestack.stone.errors import StoneError\n"
            "try: print(_matching('a name that ' + 'nobody has'))\n"
            "except StoneError: print('none')"
        )
        words = "a name that nobody has"
        line = f"sh -c '{sys.executable} -c \"$1\" x; true' '{words}' \"$1\"; true"
        said = subprocess.run(
            ["sh", "-c", line, words, program],
            capture_output=True,
            check=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))},
        )
        self.assertEqual(said.stdout, b"none\n")

    def test_nobody(self) -> None:
        """A process that is not there is told before the run."""
        self.assertRaises(StoneError, Processes, ["no such command line anywhere"])
        self.assertRaises(StoneError, Processes, ["4194305"])
        self.assertFalse(Processes([]))
