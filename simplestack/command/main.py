"""The ``simplestack`` command: finds the subcommand and runs it."""

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from simplestack import __version__

__all__ = ["COMMANDS", "discard_output", "main"]

#: Subcommand → its module, which has ``run(arguments) -> exit status``, and what it is for.
COMMANDS: dict[str, tuple[str, str]] = {
    "user": ("simplestack.command.user", "add, list, remove users, change a password"),
    "binding": ("simplestack.command.binding", "list, end, shorten, create contacts of a user"),
    "status": ("simplestack.command.status", "what the running server holds"),
    "register": ("simplestack.command.register", "keep a registration until interrupted"),
    "publish": ("simplestack.command.publish", "publish a presence state until interrupted"),
    "watch": ("simplestack.command.watch", "print a user's presence, and every change"),
    "buddies": ("simplestack.command.buddies", "keep a list of buddies, and watch them all"),
    "watchers": ("simplestack.command.watchers", "print who watches me"),
    "registrations": ("simplestack.command.registrations", "print a user's registrations"),
    "allow": ("simplestack.command.rules", "let a watcher see my presence"),
    "block": ("simplestack.command.rules", "refuse a watcher"),
    "polite-block": ("simplestack.command.rules", "appear offline to a watcher"),
    "xcap": ("simplestack.command.xcap", "read, write and edit documents"),
    "stone": ("simplestack.command.stone", "load for a SIP presence server, measured"),
    "explain": ("simplestack.command.explain", "what a watcher sees of a user, and why"),
}


def discard_output() -> None:
    """Let what could not be written be no trouble at the end of the program."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def usage() -> str:
    """The help text."""
    lines = ["usage: simplestack COMMAND [options]", ""]
    lines += [f"  {name:14} {purpose}" for name, (_, purpose) in COMMANDS.items()]
    lines += [
        "",
        "simplestack COMMAND --help tells more, simplestack --version which version this is;",
        "the server is started with: twistd -n simplestack",
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand; the return value is the exit status.

    2 stands for arguments that can't be used.  No error shows a traceback.
    """
    _open_missing()
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        try:
            return _run(given)
        finally:
            # What can't be written is found out here, and not when Python ends.
            sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        discard_output()
        return 141
    except OSError as error:
        # Nothing is left to be written, as on a full disk; or what a command needs of the system.
        discard_output()
        name = " ".join(["simplestack", *given[:1]])
        sys.stderr.write(f"{name}: {error.strerror or error}: {error.filename or 'the output'}\n")
        return 1


def _open_missing() -> None:
    """Give those of the three standard streams that the caller has closed to ``/dev/null``.

    Python has None for them, and the next socket would have their number.
    """
    if sys.stdin is None:
        sys.stdin = os.fdopen(os.open(os.devnull, os.O_RDONLY))
    if sys.stdout is None:
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    if sys.stderr is None:
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")


def _run(given: list[str]) -> int:
    if not given:
        sys.stderr.write("simplestack: no command is given; simplestack --help lists them\n")
        return 2
    if given[0] in ("-h", "--help", "help"):
        print(usage())
        return 0
    if given[0] == "--version":
        print(f"simplestack {__version__}")
        return 0
    if given[0] not in COMMANDS:
        sys.stderr.write(
            f"simplestack: there is no command {given[0]!r}; simplestack --help lists them\n"
        )
        return 2
    run: Callable[[list[str]], int] = import_module(COMMANDS[given[0]][0]).run
    return run(given)
