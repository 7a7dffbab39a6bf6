"""What is installed has what programs that build on it need."""

from configparser import ConfigParser
from importlib.resources import files
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parents[2]


class PackagingTests(SynchronousTestCase):
    def test_typed(self) -> None:
        """The types are for those who import it, too (PEP 561): the marker is there, and installed."""
        self.assertTrue(files("simplestack").joinpath("py.typed").is_file())
        setup = ConfigParser()
        setup.read(ROOT / "setup.cfg")
        self.assertEqual(setup["options.package_data"]["simplestack"].split(), ["py.typed"])
        self.assertIn("Typing :: Typed", setup["metadata"]["classifiers"])
