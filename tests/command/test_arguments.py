"""Arguments that can't be used get one line and status 2."""

import io
import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module

from twisted.trial.unittest import SynchronousTestCase

from simplestack.command import arguments
from simplestack.command.main import COMMANDS, main
from simplestack.command.publish import ACTIVITIES, document, parser
from simplestack.documents.pidf import parse_presence, validate

BOB = ("--as", "bob@example.com", "--password", "builder")
USERS = ("register", "publish", "watch", "watchers", "registrations", "allow")


def call(*given: str) -> tuple[int, str, str]:
    """Status, stdout and stderr of a command."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            status = main(list(given))
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else 1
    return status, out.getvalue(), err.getvalue()


class ArgumentsTests(SynchronousTestCase):
    def test_one_line(self) -> None:
        """Every mistake gets one line that begins with the command, and status 2."""
        for given in (
            *((command,) for command in USERS),
            ("register", "--as", "bob"),
            ("register", *BOB, "--server", "a b"),
            ("register", *BOB, "--server", "sip:h"),
            ("register", *BOB, "--transport", "sctp"),
            ("register", *BOB, "--expires", "0"),
            ("register", *BOB, "--seconds", "-1"),
            ("register", *BOB, "--ca", "/nowhere/at/all"),
            ("register", *BOB, "surplus"),
            ("register", "--as", "bob@example.com", "--password", ""),
            ("publish", *BOB, "--activity", "yak-shaving"),
            ("publish", *BOB, "--activity", "other:"),
            ("publish", *BOB, "--status", "ajar"),
            ("watch", *BOB),
            ("watch", *BOB, "not a user"),
            ("watch", *BOB, "alice@example.com", "--count", "none"),
            ("allow", *BOB, "alice"),
            ("allow", *BOB, "alice@example.com", "--xcap-root", "gopher://h/"),
            ("polite-block", *BOB, "alice@example.com", "--xcap-root", "http://h:x/"),
            ("buddies", *BOB, "add"),
            ("buddies", *BOB, "list", "alice@example.com"),
            ("buddies", *BOB, "list", "--watch"),
            ("buddies", *BOB, "befriend", "alice@example.com"),
            ("buddies", *BOB, "--xcap-root", "gopher://h/"),
            ("user",),
            ("user", "enrol"),
            ("user", "add"),
            ("user", "remove", "bob@example.com", "surplus"),
            ("user", "list", "--nonsense"),
            ("status", "surplus"),
        ):
            status, out, err = call(*given)
            self.assertEqual((status, out), (2, ""), given)
            self.assertRegex(err, rf"\Asimplestack {given[0]}( [a-z]+)?: ")
            self.assertEqual(err.count("\n"), 1, err)

    def test_no_command(self) -> None:
        """Without a command, or with one that there is not, it is the same."""
        for given in ((), ("",), ("nonsense",), ("--nonsense", "x")):
            status, out, err = call(*given)
            self.assertEqual((status, out), (2, ""), given)
            self.assertRegex(err, r"\Asimplestack: .*simplestack --help")
            self.assertEqual(err.count("\n"), 1, err)

    def test_help(self) -> None:
        """Each command tells what it takes."""
        for command in COMMANDS:
            status, out, err = call(command, "--help")
            self.assertEqual((status, err), (0, ""))
            self.assertIn(f"usage: simplestack {command}", out)

    def test_modules(self) -> None:
        """Each command that is listed can be run."""
        for module, _ in COMMANDS.values():
            self.assertTrue(callable(import_module(module).run))

    def test_password(self) -> None:
        """The argument comes before the environment, and that before the question."""
        self.patch(os, "environ", {arguments.PASSWORD: "from the environment"})
        options = parser().parse_args(["--as", "bob@example.com"])
        self.assertEqual(arguments.account(options).password, "from the environment")
        options = parser().parse_args(["--as", "bob@example.com", "--password", "given"])
        self.assertEqual(arguments.account(options).password, "given")
        self.patch(os, "environ", {})
        self.patch(sys, "stdin", io.StringIO("asked for\n"))
        options = parser().parse_args(["--as", "bob@example.com"])
        self.assertEqual(arguments.account(options).password, "asked for")


class DocumentTests(SynchronousTestCase):
    def test_document(self) -> None:
        """Status in a tuple, activities and note in the person (RFC 4479 §3.2, RFC 4480 §3.2);
        the document is valid by the schemas.
        """
        options = parser().parse_args(
            [
                *BOB,
                "--status=closed",
                "--activity=on-the-phone",
                "--activity=other:a<b",
                '--note=until "four"',
                "--contact=tel:+15551234",
            ]
        )
        body = document(options, "x1", 1_700_000_000.0).to_bytes()
        validate(body)
        presence = parse_presence(body)
        (service,), (person,) = presence.tuples, presence.persons
        self.assertEqual(presence.entity, "sip:bob@example.com")
        self.assertEqual((service.basic, service.contact), ("closed", "tel:+15551234"))
        self.assertEqual(service.timestamp, "2023-11-14T22:13:20Z")
        self.assertEqual([note.text for note in person.notes], ['until "four"'])
        names = [child.tag.rpartition("}")[2] for child in person.elements[0].tree()]
        self.assertEqual(names, ["on-the-phone", "other"])

    def test_little(self) -> None:
        """Without activity and note there is no person to speak of."""
        presence = document(parser().parse_args([*BOB]), "x1", 0.0)
        self.assertEqual((presence.tuples[0].basic, presence.persons), ("open", ()))
        validate(presence.to_bytes())

    def test_all_activities(self) -> None:
        """Every activity that is offered is one of RFC 4480 §3.2, by its schema."""
        given = [word for name in ACTIVITIES for word in ("--activity", name)]
        validate(document(parser().parse_args([*BOB, *given]), "x1", 0.0).to_bytes())
