"""A command in the reactor: from its start to its end, by itself or by an interrupt."""

import argparse
import os
import signal
import stat
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TextIO, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as TookTooLong
from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import globalLogBeginner
from zope.interface import implementer

from simplestack.app.clock import steady
from simplestack.client.errors import (
    AuthenticationError,
    ClientError,
    NoAnswerError,
    RefusedError,
    TerminatedError,
)
from simplestack.client.useragent import UserAgent
from simplestack.command.arguments import UsageError, account, authorities
from simplestack.command.main import discard_output

__all__ = [
    "AUTHENTICATION",
    "BROKEN_PIPE",
    "DONE",
    "NO_ANSWER",
    "NO_USER",
    "REFUSED",
    "USAGE",
    "Session",
    "attempt",
    "perform",
    "run_session",
    "serve",
    "shown",
    "status_of",
]

T = TypeVar("T")

#: Exit statuses.
DONE, REFUSED, USAGE, NO_ANSWER, AUTHENTICATION, NO_USER = range(6)
BROKEN_PIPE = 141

#: Seconds that the server has to confirm that something was removed.
_FAREWELL = 4.0


def status_of(error: ClientError) -> int:
    """The exit status for what went wrong."""
    if isinstance(error, NoAnswerError):
        return NO_ANSWER
    if isinstance(error, AuthenticationError):
        return AUTHENTICATION
    if isinstance(error, RefusedError):
        if error.status in (404, 410, 604):
            return NO_USER
        if error.status in (408, 480) or 500 <= error.status < 600:
            return NO_ANSWER
    if isinstance(error, TerminatedError) and error.reason == "noresource":
        return NO_USER
    return REFUSED


def shown(text: str) -> str:
    """Text of others for a terminal: in one line, without control characters."""
    return "".join(each if each.isprintable() else " " for each in text)


class _Interrupted(Exception):  # noqa: N818
    """The session has ended while something was waited for."""


@implementer(IReadDescriptor)
class _Pipe:
    """The end of a pipe that we write to: the reactor tells when its other end is closed."""

    def __init__(self, number: int, closed: Callable[[], None]) -> None:
        self._number = number
        self._closed = closed

    def fileno(self) -> int:
        return self._number

    def doRead(self) -> None:
        """Nothing can be read."""

    def connectionLost(self, reason: object) -> None:
        self._closed()

    def logPrefix(self) -> str:
        return "output"


class Session:
    """One run of a command: what it says, and when and with which status it ends."""

    def __init__(
        self, name: str, reactor: Any, out: TextIO | None = None, err: TextIO | None = None
    ) -> None:
        self.name = name
        self.reactor = reactor
        #: The user agent; ``serve`` sets it before the command's work begins.
        self.agent: UserAgent
        self.status: int | None = None
        #: Whether what the command is for has come about.
        self.satisfied = False
        self._out = out or sys.stdout
        self._err = err or sys.stderr
        self._waiting: list[Deferred[Any]] = []
        self._timer: Any = None

    @property
    def terminal(self) -> bool:
        """Whether what is printed goes to a terminal."""
        return self._out.isatty()

    def say(self, text: str) -> None:
        """Print a line."""
        try:
            print(text, file=self._out, flush=True)
        except OSError as error:
            # Nor may what is left in the buffer trouble the end of the program.
            if self._out is sys.stdout:
                discard_output()
            if isinstance(error, BrokenPipeError):
                self.end(BROKEN_PIPE)
            elif self.status is None:
                self.warn(f"what it says can't be written: {error.strerror}")
                self.end(REFUSED)

    def end_with_reader(self) -> None:
        """End when nobody reads the output any more, though there is nothing to say just then."""
        with suppress(OSError, ValueError):
            number = self._out.fileno()
            if stat.S_ISFIFO(os.fstat(number).st_mode):
                self.reactor.addReader(_Pipe(number, lambda: self.end(BROKEN_PIPE)))

    def warn(self, text: object) -> None:
        """Print a line on stderr, with the name of the command before it."""
        print(f"simplestack {self.name}: {shown(str(text))}", file=self._err, flush=True)

    def trouble(self, error: ClientError, pause: float) -> None:
        """Tell that something will be tried again."""
        self.warn(f"{error}; trying again in {pause:.0f} s")

    def fail(self, error: ClientError | None) -> None:
        """End because of an error; None is no error."""
        if error is not None and self.status is None:
            self.warn(error)
            self.end(status_of(error))
        self.end(DONE)

    def end(self, status: int = DONE) -> None:
        """End with this exit status, unless another came first."""
        if self.status is None:
            self.status = status
            if self._timer is not None and self._timer.active():
                self._timer.cancel()
            waiting, self._waiting = self._waiting, []
            for each in waiting:
                each.errback(_Interrupted())

    def end_after(self, seconds: int | None) -> None:
        """End so many seconds from now: with DONE where ``satisfied`` is true then."""
        if seconds is not None and self.status is None:
            self._timer = self.reactor.callLater(seconds, self._late, seconds)

    def _late(self, seconds: int) -> None:
        if not self.satisfied:
            self.warn(f"ended after {seconds} s, before there was what it waited for")
        self.end(DONE if self.satisfied else NO_ANSWER)

    async def wait(self, result: Deferred[T]) -> T:
        """A result; when the session ends before it is there, the work is broken off."""
        race: Deferred[T] = Deferred()
        result.addCallbacks(
            lambda value: None if race.called else race.callback(value),
            lambda failure: None if race.called else race.errback(failure),
        )
        if self.status is not None and not race.called:
            raise _Interrupted
        if not race.called:
            self._waiting.append(race)
        try:
            return await race
        finally:
            if race in self._waiting:
                self._waiting.remove(race)

    async def until_end(self) -> int:
        """Wait for the end; the result is the exit status."""
        if self.status is None:
            with suppress(_Interrupted):
                await self.wait(Deferred[None]())
        assert self.status is not None
        return self.status

    async def farewell(self, removal: Deferred[None], what: str) -> int:
        """Wait for what is removed in the end, but not for long; the result is an exit status."""
        removal.addTimeout(_FAREWELL, self.reactor)
        try:
            await removal
        except TookTooLong:
            why = "no answer"
        except ClientError as error:
            why = str(error)
        else:
            return DONE
        self.warn(f"{what} was not removed, and ends when it expires: {why}")
        return NO_ANSWER


async def serve(
    session: Session, agent: UserAgent, work: Callable[[Session], Coroutine[Any, Any, int]]
) -> int:
    """Do a command's work with a user agent; the result is the exit status."""
    session.agent = agent
    agent.on_silence = lambda why: session.warn(f"{why} yet; is the server running there?")

    async def begin() -> int:
        await session.wait(agent.start())
        return await work(session)

    try:
        return await attempt(session, begin())
    finally:
        session.end()
        await agent.stop()


async def attempt(session: Session, work: Coroutine[Any, Any, int]) -> int:
    """Do a command's work; the result is the exit status, also of what goes wrong."""
    try:
        return await work
    except _Interrupted:
        return DONE if session.status is None else session.status
    except ClientError as error:
        session.warn(error)
        return status_of(error)


def perform(
    name: str, options: argparse.Namespace, work: Callable[[Session], Coroutine[Any, Any, int]]
) -> int:
    """Run a command that takes a user agent until it has ended, or SIGINT or SIGTERM came."""

    def start(session: Session) -> Coroutine[Any, Any, int]:
        agent = UserAgent(session.reactor, account(options), authorities=authorities(options))
        return serve(session, agent, work)

    return run_session(name, start)


def run_session(name: str, start: Callable[[Session], Coroutine[Any, Any, int]]) -> int:
    """Run what ``start`` gives in the reactor; the result is the exit status."""
    from twisted.internet import reactor as installed

    reactor: Any = installed
    steady(reactor)
    session = Session(name, reactor)
    try:
        work = start(session)
    except UsageError as error:
        session.warn(error)
        return USAGE
    # What the floors log is for those who look into it, with a log observer of their own.
    globalLogBeginner.beginLoggingTo([], redirectStandardIO=False, discardBuffer=True)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
    statuses: list[int] = []
    finished: Deferred[None] = Deferred()

    def done(result: Any) -> None:
        if isinstance(result, int):
            statuses.append(result)
        else:
            session.warn(f"failed: {result.type.__name__}: {result.getErrorMessage()}")
            statuses.append(REFUSED)
        finished.callback(None)
        if not stopping:
            reactor.stop()

    stopping: list[bool] = []

    def interrupted() -> Deferred[None]:
        stopping.append(True)
        # A shell or supervisor may send one interrupt twice; who sends another one a second later
        # does not want to wait.
        _on_signals(signal.SIG_IGN)
        reactor.callLater(1.0, _on_signals, signal.SIG_DFL)
        session.end(DONE)
        return finished

    def begin() -> None:
        session.end_with_reader()
        reactor.addSystemEventTrigger("before", "shutdown", interrupted)
        Deferred.fromCoroutine(work).addBoth(done)

    reactor.callWhenRunning(begin)
    reactor.run()
    return statuses[0] if statuses else DONE


def _on_signals(action: signal.Handlers) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, action)
