"""Settings and options: each mistake gets one line that says what is wrong and what to do."""

import sys
from io import StringIO

from twisted.trial.unittest import SynchronousTestCase

from simplestack.app.plugins import composition_policy, make_roles
from simplestack.app.settings import ROLE_NAMES, Settings, SettingsError, split_names
from simplestack.app.tap import Options, makeService
from simplestack.event.limits import Limits


class SettingsTests(SynchronousTestCase):
    def refused(self, why: str, **values: object) -> None:
        """The settings are refused, and the text has this in it."""
        error = self.assertRaises(SettingsError, Settings().replace, **values)
        self.assertIn(why, str(error))
        self.assertNotIn("\n", str(error))

    def test_defaults(self) -> None:
        """Without a word it serves localhost, on this machine alone, with all roles."""
        settings = Settings()
        self.assertEqual(settings.domains, ("localhost",))
        self.assertEqual(settings.roles, ROLE_NAMES)
        for place in (*settings.listen, *settings.xcap):
            self.assertIn("interface=127.0.0.1", place)

    def test_domains(self) -> None:
        """RFC 3261 §19.1.4: domains are compared without case; what is none is refused."""
        settings = Settings(domains=(" Example.COM ",))
        self.assertEqual(settings.domains, ("example.com",))
        for name in ("", " ", "alice@example.com", "sip.example.com/x", "<a>", 'a"b'):
            self.refused("is not a domain", domains=(name,))
        self.refused("--domain", domains=())

    def test_lists(self) -> None:
        """A .tac may use lists."""
        settings = Settings(domains=["example.com"])
        self.assertEqual(settings.domains, ("example.com",))

    def test_types(self) -> None:
        """A text where a list belongs is no list of its letters; numbers in quotes are none."""
        self.refused("it takes a list, such as ['example.com']", domains="example.com")
        self.refused("it takes a list of texts", listen=[5060])
        self.refused("max_connections is '5'; it takes a whole number", max_connections="5")
        self.refused("it takes a whole number", restart_window=1.5)
        self.refused("it takes True or False", user_composition=0)
        self.refused("store is None; it takes a text", store=None)

    def test_roles(self) -> None:
        """Roles that do not exist are named, with those that do."""
        self.refused("there is no role 'presense'", roles=("presense",))
        self.refused("registrar,presence", roles=("presense",))
        self.refused("no role is left", roles=())

    def test_numbers(self) -> None:
        """RFC 3261 §10.3: a minimum over an hour can't be asked for by 423; nothing is negative."""
        for name in ("register", "publish", "subscribe"):
            self.refused("takes 1 to 3600", **{f"{name}_min_expires": 0})
            self.refused("takes 1 to 3600", **{f"{name}_min_expires": 3601})
            self.refused("3600 or more", **{f"{name}_max_expires": 60})
        self.refused("max_contacts is -1", max_contacts=-1)

    def test_words(self) -> None:
        """Words that are none of the choices are refused with the choices."""
        self.refused("confirm, allow, block or polite-block", default_handling="maybe")
        self.refused("is not an http: or https: URL", xcap_root="xcap.example.com")

    def test_split_names(self) -> None:
        """Names may be given in one option or several."""
        self.assertEqual(split_names(["a, b", "c", ""]), ("a", "b", "c"))

    def test_make_roles(self) -> None:
        """Each role is made alone; watcher information is a template over those beside it."""
        for name in ROLE_NAMES:
            (role,) = make_roles(Settings(roles=(name,)))
            self.assertEqual(role.name, name)
        (*_, winfo) = make_roles(Settings(roles=("registrar", "presence", "reg", "winfo")))
        self.assertEqual(
            [package.name for package in winfo.packages],
            ["presence.winfo", "presence.winfo.winfo", "reg.winfo", "reg.winfo.winfo"],
        )

    def test_composition(self) -> None:
        """A composition policy that is not there is refused with those that are."""
        self.assertEqual(composition_policy("union").name, "union")
        error = self.assertRaises(SettingsError, composition_policy, "onion")
        self.assertIn("union", str(error))


class OptionsTests(SynchronousTestCase):
    def parse(self, *arguments: str) -> Settings:
        """The settings that the options make."""
        options = Options()
        options.parseOptions(list(arguments))
        return options.settings

    def leaves(self, *arguments: str) -> str:
        """The one line on stderr with which the program ends, with status 2."""
        stderr = StringIO()
        self.patch(sys, "stderr", stderr)
        self.patch(sys, "__stderr__", stderr)
        options = Options()

        def run() -> None:
            options.parseOptions(list(arguments))
            makeService(options)

        leaving = self.assertRaises(SystemExit, run)
        self.assertEqual(leaving.code, 2)
        (line,) = stderr.getvalue().splitlines()
        self.assertTrue(line.startswith("simplestack: "), line)
        return line

    def test_options(self) -> None:
        """Each option is its setting; those that are repeatable replace the default as a whole."""
        settings = self.parse(
            "--domain",
            "example.com",
            "-d",
            "example.org",
            "--listen",
            "udp:5070:interface=127.0.0.1",
            "--roles",
            "registrar,reg",
            "--store",
            "sqlite:///x.db",
            "--xcap",
            "tcp:8090",
            "--xcap-root",
            "https://xcap.example.com/",
            "--control",
            "",
            "--advertise",
            "sip.example.com",
            "--notify-interval",
            "0",
        )
        self.assertEqual(settings.domains, ("example.com", "example.org"))
        self.assertEqual(settings.listen, ("udp:5070:interface=127.0.0.1",))
        self.assertEqual(settings.roles, ("registrar", "reg"))
        self.assertEqual(settings.store, "sqlite:///x.db")
        self.assertEqual(settings.xcap, ("tcp:8090",))
        self.assertEqual(settings.xcap_root, "https://xcap.example.com/")
        self.assertEqual(settings.control, "")
        self.assertEqual(settings.advertise, "sip.example.com")
        self.assertEqual(settings.notify_interval, 0)
        self.assertEqual(self.parse(), Settings())

    def test_pace(self) -> None:
        """Without a word on it a view is told every five seconds at most (RFC 3856 §6.10)."""
        self.assertEqual(Settings().notify_interval, 5)
        self.assertEqual(Limits().notify_interval, 5)

    def test_mistakes(self) -> None:
        """Each mistake: one line on stderr that names it, exit status 2, no traceback."""
        for arguments, why in (
            (("--domain", "a b"), "'a b' is not a domain"),
            (("--roles", "cook"), "there is no role 'cook'"),
            (("--no-such-option",), "no-such-option"),
            (("surplus",), "'surplus' is not an option"),
            (("--xcap-root", "ftp://x/"), "is not an http: or https: URL"),
            (("--listen", "sctp:5060"), "sctp"),
            (("--listen", "udp:port"), "port"),
            (("--listen", "udp:99999"), "99999"),
            (("--listen", "tls:5061"), "tls"),
            (("--store", "no url"), "no url"),
            (("--store", "oracle://x/y"), "oracle"),
            (("--digest", "MD4"), "MD4"),
        ):
            line = self.leaves(*arguments)
            self.assertIn(why, line, arguments)
