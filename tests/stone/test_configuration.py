"""Configurations: from TOML, from options, and what can't be used."""

from math import inf, nan
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from simplestack.command.stone import configured, parser
from simplestack.stone.configuration import (
    SECTIONS,
    Configuration,
    from_values,
    options_of,
    read_toml,
)
from simplestack.stone.errors import ConfigurationError
from simplestack.stone.running import rates_of
from simplestack.stone.surroundings import check_surroundings

_SHIPPED = Path(__file__).resolve().parents[2] / "etc" / "stone.toml"


class ShippedTest(SynchronousTestCase):
    """etc/stone.toml shows every key with its default."""

    def test_every_key_and_its_default(self) -> None:
        """What the file says is what counts where nothing is said, and no key is left out."""
        values = read_toml(_SHIPPED.read_text("utf-8"))
        self.assertEqual(from_values(values), Configuration())
        for name, section in SECTIONS.items():
            self.assertEqual(list(values[name]), [each.name for each, _ in options_of(section)])


class ValuesTest(SynchronousTestCase):
    def test_there_and_back(self) -> None:
        """What is sent to a loader on another machine is the configuration."""
        made = from_values({"load": {"rates": [1, 2.5]}, "server": {"watch": ["twistd"]}})
        self.assertEqual(from_values(made.values()), made)
        self.assertEqual(made.load.rates, [1.0, 2.5])

    def test_a_whole_number_is_a_rate(self) -> None:
        """TOML tells 100 from 100.0, people don't."""
        self.assertEqual(from_values({"load": {"rate": 100}}).load.rate, 100.0)

    def test_what_cannot_be_used(self) -> None:
        """Each mistake is told by the name of its key."""
        for values, said in (
            ({"sever": {}}, "sever"),
            ({"load": {"rte": 1}}, "rte"),
            ({"load": {"rate": "fast"}}, "load.rate"),
            ({"load": {"rate": True}}, "load.rate"),
            ({"load": {"rates": [0]}}, "load.rates"),
            ({"load": {"rates": [inf]}}, "load.rates"),
            ({"load": {"rate": nan}}, "load.rate"),
            ({"load": {"length": inf}}, "load.length"),
            ({"load": {"exponent": -1.0}}, "load.exponent"),
            ({"load": {"watchers_each": 101.0}}, "load.watchers_each"),
            ({"load": {"watchers_each": 100.0, "mutual": True}}, "load.watchers_each"),
            ({"load": 3}, "[load]"),
            ({"server": {"watch": 5}}, "5 is no list"),
            ({"server": {"port": 65536}}, "server.port"),
            ({"server": {"domain": "a b"}}, "server.domain"),
            ({"server": {"xcap": "somewhere"}}, "server.xcap"),
            ({"server": {"xcap": "http://[::1/"}}, "server.xcap"),
            ({"users": {"user": "u {}"}}, "users.user"),
            ({"load": {"body": 10}}, "load.body"),
            ({"load": {"refresh": 2.0}}, "load.refresh"),
            ({"load": {"scenario": "nothing"}}, "load.scenario"),
            ({"load": {"distribution": "odd"}}, "load.distribution"),
            ({"server": {"transport": "sctp"}}, "server.transport"),
            ({"users": {"user": "alice"}}, "users.user"),
            ({"users": {"user": "u{name}"}}, "users.user"),
            ({"generator": {"loaders": 200, "handlers": 200}}, "generator"),
            ({"generator": {"handlers": 0}}, "generator.handlers"),
            ({"load": {"rate": 1e30}}, "load.rate"),
            ({"load": {"rates": [1, 1e7]}}, "load.rates"),
            ({"server": {"watch": [" "]}}, "server.watch"),
        ):
            error = self.assertRaises(ConfigurationError, from_values, values)
            self.assertIn(said, str(error))
            self.assertNotIn("object at", str(error))

    def test_no_handlers(self) -> None:
        """Where nobody subscribes, nobody is needed to."""
        for load in ({"scenario": "register"}, {"watchers_each": 0}):
            from_values({"load": load, "generator": {"handlers": 0}})

    def test_no_toml(self) -> None:
        """What is no TOML is told so, by the name of the file."""
        self.assertRaises(ConfigurationError, read_toml, "[load")
        file = Path(self.mktemp())
        file.write_text("[load")
        options = parser().parse_args(["run", str(file)])
        error = self.assertRaises(ConfigurationError, configured, options)
        self.assertIn(f"{file}: ", str(error))


class OptionsTest(SynchronousTestCase):
    """Every key is an option, too, and what an option says counts."""

    def test_options_before_the_file(self) -> None:
        """An option replaces what the file says; the rest of the file stays."""
        file = Path(self.mktemp())
        file.write_text('[load]\nrate = 5\nscenario = "publish"\n[users]\ndigest = true\n')
        options = parser().parse_args(
            ["run", str(file), "--rate", "7", "--no-digest", "--rates", "1", "2"]
        )
        made = configured(options)
        self.assertEqual((made.load.rate, made.load.scenario), (7.0, "publish"))
        self.assertEqual((made.users.digest, made.load.rates), (False, [1.0, 2.0]))

    def test_no_file(self) -> None:
        """A file that is not there is told by its name."""
        options = parser().parse_args(["run", "nowhere.toml"])
        self.assertIn(
            "nowhere.toml", str(self.assertRaises(ConfigurationError, configured, options))
        )


class SurroundingsTest(SynchronousTestCase):
    """Files and addresses that a configuration names are looked at before the run."""

    def test_mistakes(self) -> None:
        """Each is told by the name of its key."""
        bodies = Path(self.mktemp())
        bodies.mkdir()
        for values, said in (
            ({"generator": {"listen": "here"}}, "generator.listen"),
            ({"report": {"json": "/nowhere/run.json"}}, "report.json"),
            ({"report": {"html": str(bodies)}}, "report.html"),
            ({"server": {"ca": "/nowhere.pem"}}, "server.ca"),
            ({"load": {"bodies": "/nowhere"}}, "load.bodies"),
            ({"load": {"bodies": str(bodies)}}, "has no document"),
        ):
            made = from_values(values)
            error = self.assertRaises(ConfigurationError, check_surroundings, made)
            self.assertIn(said, str(error))
        (bodies / "a.xml").write_text("<presence entity='{entity}'/>")
        made = from_values({"load": {"bodies": str(bodies)}})
        error = self.assertRaises(ConfigurationError, check_surroundings, made)
        self.assertIn("a.xml has no {mark}", str(error))
        (bodies / "a.xml").write_text("<presence entity='{entity}'>{mark}</presence>")
        check_surroundings(made)

    def test_elsewhere(self) -> None:
        """Loaders on other machines look for their files there."""
        check_surroundings(
            from_values({"generator": {"remote": True}, "server": {"ca": "/there.pem"}})
        )


class RatesTest(SynchronousTestCase):
    def test_nothing_is_due(self) -> None:
        """A step in which nothing is done would tell that nothing succeeded."""
        made = from_values({"load": {"rates": [10.0, 0.05], "length": 10.0}})
        error = self.assertRaises(ConfigurationError, rates_of, made)
        self.assertIn("at 0.05/s nothing is due", str(error))

    def test_too_few_pairs(self) -> None:
        """A subscription in a new dialog wants a pair that has begun none in this step."""
        load = {"scenario": "subscribe", "rate": 84, "watchers_each": 10, "warm": 2, "length": 10}
        error = self.assertRaises(ConfigurationError, rates_of, from_values({"load": load}))
        self.assertIn("83.33/s", str(error))
        self.assertEqual(rates_of(from_values({"load": load | {"rate": 83}})), [83.0])
        self.assertEqual(rates_of(from_values({"load": {"rate": 1e6}})), [1e6])
