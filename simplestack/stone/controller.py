"""The controller: has loaders and handlers do what the configuration says, and takes what they count."""

import hmac
import secrets
import selectors
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from simplestack import __version__
from simplestack.stone.child import child
from simplestack.stone.configuration import Configuration
from simplestack.stone.errors import StoneError
from simplestack.stone.peer import SILENCE, Peer
from simplestack.stone.scenarios import SCENARIOS, mix
from simplestack.stone.surroundings import address_of
from simplestack.stone.tally import (
    KINDS,
    REGISTER,
    SUBSCRIBE,
    UNPUBLISH,
    UNREGISTER,
    UNSUBSCRIBE,
    role_of,
)

__all__ = ["Controller", "Step", "workers"]

#: Seconds that processes of our own have to come, and others to say who they are.
_PATIENCE = 30.0
#: Seconds without a sign of life after which a process hangs, or its machine does; a sign comes
#: every half second.
_SILENCE = SILENCE
#: Seconds in which a run that was cut short takes back what it has left at the server.
_PARTING = 10.0
#: How many may be there who have not said who they are.
_STRANGERS = 512
_LEAD = 0.25


class Step:
    """One step of a run: a rate that is kept for a time."""

    def __init__(self, rate: float, warm: float, length: float) -> None:
        self.rate = rate
        self.warm = warm
        self.length = length
        #: The moments of our clock at which counting begins and ends.
        self.begin = 0.0
        self.end = 0.0
        self.finished: list[dict[str, Any]] = []
        self.tallies: list[dict[str, Any]] = []


class Controller:
    """Waits for the processes, and steers them."""

    def __init__(
        self,
        configuration: Configuration,
        listener: socket.socket,
        token: str,
        tick: Callable[["Controller"], None] = lambda controller: None,
        alive: Callable[[], None] = lambda: None,
    ) -> None:
        self.configuration = configuration
        self.token = token
        self.peers: list[Peer] = []
        #: What is going on, for the display.
        self.stage = "waiting for loaders and handlers"
        #: Whether something may have been left at the server.
        self.touched = False
        #: The roles of those who have ended, or hang.
        self._lost: set[str] = set()
        self.tick = tick
        self._alive = alive
        self._listener = listener
        self._selector = selectors.DefaultSelector()
        listener.setblocking(False)
        self._selector.register(listener, selectors.EVENT_READ)

    def close(self) -> None:
        """Let the processes end."""
        for peer in self.peers:
            with suppress(StoneError):
                peer.say({"end": True})
            peer.connection.close()
        self.peers.clear()
        self._selector.close()
        self._listener.close()

    # -- gathering -----------------------------------------------------------------------------

    def gather(self) -> None:
        """Wait until all have come, set their clocks by ours, and tell them their part."""
        generator = self.configuration.generator
        wanted = {"loader": generator.loaders, "handler": generator.handlers}
        end = time.monotonic() + (86400 if generator.remote else _PATIENCE)
        waiting: dict[socket.socket, Peer] = {}
        while len(self.peers) < sum(wanted.values()):
            if time.monotonic() > end:
                raise StoneError("the loaders and handlers did not come")
            self.tick(self)
            self._alive()
            for key, _ in self._selector.select(0.1):
                if key.fileobj is self._listener:
                    self._accept(waiting)
                    continue
                known = [*waiting.values(), *self.peers]
                peer = next(each for each in known if each.connection is key.fileobj)
                if peer.connection in waiting:
                    self._welcome(peer, wanted, waiting)
                else:
                    # It has nothing to say yet, but may have ended.
                    peer.read()
            for peer in list(waiting.values()):
                if time.monotonic() - peer.came > _PATIENCE:
                    del waiting[peer.connection]
                    self._refuse(peer, "nobody said who is there")
        for late in list(waiting.values()):
            del waiting[late.connection]
            self._refuse(late, "there are enough already")
        # Who comes later finds nobody.
        self._selector.unregister(self._listener)
        self._listener.close()
        self._set_clocks()
        run = secrets.token_hex(3)
        for role in wanted:
            same = [peer for peer in self.peers if peer.role == role]
            for index, peer in enumerate(same):
                peer.number = self.peers.index(peer)
                peer.say(
                    {
                        "configure": self.configuration.values(),
                        "index": index,
                        "of": len(same),
                        "number": peer.number,
                        "offset": peer.offset,
                        "run": run,
                    }
                )
        self._await(
            self.peers, "configured", _PATIENCE + self.configuration.load.presentities / 500
        )

    def _accept(self, waiting: dict[socket.socket, Peer]) -> None:
        try:
            connection, address = self._listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:
            # Who has gone again.
            return
        self._selector.register(connection, selectors.EVENT_READ)
        peer = Peer(connection, str(address[0]))
        if len(waiting) < _STRANGERS:
            waiting[connection] = peer
        else:
            self._refuse(peer, "too many have not said who they are")

    def _welcome(
        self, peer: Peer, wanted: dict[str, int], waiting: dict[socket.socket, Peer]
    ) -> None:
        try:
            said = peer.read()
        except StoneError:
            said = [{}]
        if not said:
            return
        del waiting[peer.connection]
        first: Any = said[0]
        hello = first if isinstance(first, dict) else {}
        role, token = str(hello.get("hello")), str(hello.get("token"))
        known = self.token.encode("utf-8", "replace")
        version = hello.get("version")
        if not hmac.compare_digest(token.encode("utf-8", "replace"), known):
            self._refuse(peer, "the token is another")
        elif version != __version__:
            self._refuse(peer, f"it is simplestack {__version__}, not {version}")
        elif sum(each.role == role for each in self.peers) >= wanted.get(role, 0):
            self._refuse(peer, "there are enough already")
        else:
            peer.role = role
            self.peers.append(peer)

    def _refuse(self, peer: Peer, why: str) -> None:
        with suppress(StoneError):
            peer.say({"refused": why})
        self._selector.unregister(peer.connection)
        peer.connection.close()

    def _set_clocks(self) -> None:
        """Learn how clocks elsewhere stand to ours now: they run apart in time."""
        if self.configuration.generator.remote:
            for peer in self.peers:
                peer.offset = self._offset(peer)

    def _offset(self, peer: Peer) -> float:
        """What our clock is ahead of theirs: the answer that took the least time says it."""
        best, offset = float("inf"), 0.0
        for _ in range(10):
            asked = time.monotonic()
            peer.say({"clock": True})
            theirs = float(self._await([peer], "clock")[0])
            answered = time.monotonic()
            if answered - asked < best:
                best = answered - asked
                offset = (asked + answered) / 2 - theirs
        return offset

    def _await(self, peers: list[Peer], what: str, patience: float | None = None) -> list[Any]:
        """What each of them says of it.

        Raises StoneError where one says nothing for so many seconds, or has ended.
        """
        patience = _SILENCE if patience is None else patience
        found: dict[int, Any] = {}
        silent = {id(peer): 0.0 for peer in peers}
        then = time.monotonic()
        while len(found) < len(peers):
            self.tick(self)
            for key, _ in self._selector.select(0.1):
                peer = next((each for each in self.peers if each.connection is key.fileobj), None)
                if peer is None:
                    continue
                silent[id(peer)] = 0.0
                for message in self._heard(peer):
                    if "failed" in message:
                        raise StoneError(str(message["failed"]))
                    if "progress" in message:
                        peer.progress = message["progress"]
                    if "preparing" in message:
                        kind, done, count = message["preparing"]
                        self.stage = f"preparing: {KINDS[kind]} {done} of {count}"
                    if what in message:
                        found[id(peer)] = message[what]
            now = time.monotonic()
            for peer in peers:
                # Where we were stopped ourselves, what they have said meanwhile is read first.
                silent[id(peer)] += min(now - then, 0.5)
                if id(peer) not in found and silent[id(peer)] > patience:
                    self._lose(peer)
                    raise StoneError(
                        f"a {peer.role} at {peer.where} has said nothing for {patience:g} s ({what})"
                    )
            then = now
        return [found[id(peer)] for peer in peers]

    def _heard(self, peer: Peer) -> list[dict[str, Any]]:
        try:
            return peer.read()
        except StoneError:
            self._lose(peer)
            raise

    def _lose(self, peer: Peer) -> None:
        """Go on without one who has ended, or hangs."""
        if peer in self.peers:
            self._lost.add(peer.role)
            self.peers.remove(peer)
            self._selector.unregister(peer.connection)
            peer.connection.close()

    def _of_role(self, role: str) -> list[Peer]:
        return [peer for peer in self.peers if peer.role == role]

    # -- running -------------------------------------------------------------------------------

    def prepare(self, before_subscriptions: Callable[[], None] = lambda: None) -> int:
        """What the scenario wants done before; how many subscriptions were made.

        Raises StoneError where more than one in a hundred of anything is refused.
        """
        made = 0
        for kind in SCENARIOS[self.configuration.load.scenario].prepared:
            self.stage = f"preparing: {KINDS[kind]}"
            self.touched = True
            if kind == SUBSCRIBE:
                before_subscriptions()
            peers = self._of_role(role_of(kind))
            for peer in peers:
                peer.say({"prepare": kind})
            results = self._await(peers, "prepared")
            done, count = (sum(each[name] for each in results) for name in ("done", "count"))
            if done < count * 0.99:
                raise StoneError(
                    f"preparing: {count - done} of {count} {KINDS[kind]} failed: {_most(results)}"
                )
            if kind == SUBSCRIBE:
                made = done
                unshown = sum(each["unshown"] for each in results)
                if unshown > made * 0.01:
                    raise StoneError(
                        f"preparing: {unshown} of {made} subscriptions show nothing of what was "
                        "published: watchers must be allowed, as server.xcap does it"
                    )
        return made

    def release(self) -> None:
        """End the subscriptions of a step, so that the next one can make them again."""
        self.stage = "ending the subscriptions"
        peers = self._of_role("handler")
        for peer in peers:
            peer.say({"prepare": UNSUBSCRIBE})
        self._await(peers, "prepared")

    def recover(self) -> None:
        """After a step that was too much: wait until all is answered, and make good what was lost.

        Loaders first: what watchers are shown is there then.
        """
        self.stage = "waiting for the server to recover"
        for role in ("loader", "handler"):
            peers = self._of_role(role)
            for peer in peers:
                peer.say({"recover": True})
            self._await(peers, "recovered")

    def rescue(self) -> str:
        """After a run that was cut short: take back what there is time for; what is left, in words."""
        if not self.touched:
            return ""
        self.stage = "leaving off"
        try:
            for peer in list(self.peers):
                try:
                    peer.say({"stop": True})
                except StoneError:
                    self._lose(peer)
            self._await(list(self.peers), "stopped")
            left = self.clean(_PARTING)
        except StoneError as error:
            return f"; what it has left at the server stays until it expires: {error}"
        said = f"; {left} of what it has left at the server stay until they expire" if left else ""
        for role in sorted(self._lost):
            said += f"; what that {role} has left at the server stays until it expires"
        return said

    def clean(self, within: float | None = None) -> int:
        """Take back what was registered, published and subscribed to; how many could not be.

        Nothing is begun after so many seconds.  Raises StoneError where nothing can be taken back.
        """
        end = None if within is None else time.monotonic() + within
        prepared = SCENARIOS[self.configuration.load.scenario].prepared
        kinds = [UNSUBSCRIBE, UNPUBLISH] + ([UNREGISTER] if REGISTER in prepared else [])
        results: list[dict[str, Any]] = []
        for kind in kinds:
            self.stage = f"cleaning up: {KINDS[kind]}"
            peers = self._of_role(role_of(kind))
            for peer in peers:
                rest = None if end is None else max(end - time.monotonic(), 0.0)
                peer.say({"prepare": kind, "within": rest})
            results += self._await(peers, "prepared")
        done, count = (sum(each[name] for each in results) for name in ("done", "count"))
        if count and not done:
            self.touched = False
            raise StoneError(f"cleaning up: {count} of {count} failed: {_most(results)}")
        return int(count - done)

    def step(
        self,
        step: Step,
        at_begin: Callable[[], None] = lambda: None,
        at_end: Callable[[], None] = lambda: None,
    ) -> Step:
        """Have a step done; ``at_begin`` and ``at_end`` are called when counting does."""
        load = self.configuration.load
        scenario = SCENARIOS[load.scenario]
        if scenario.outage:
            # Many connections take a time to close, and it is not the server's.
            for peer in self.peers:
                peer.say({"outage": True})
            self._await(self.peers, "cut")
        self._set_clocks()
        at = time.monotonic() + _LEAD
        step.begin, step.end = at + step.warm, at + step.warm + step.length
        self.stage = f"{load.scenario} at {step.rate:g} per second"
        operations = mix(load, step.rate)
        for peer in self.peers:
            peer.progress = {}
            peer.say(
                {
                    "step": {
                        "at": at,
                        "offset": peer.offset,
                        "warm": step.warm,
                        "length": step.length,
                        "outage": scenario.outage,
                        "mix": {
                            kind: rate
                            for kind, rate in operations.items()
                            if role_of(kind) == peer.role
                        },
                    }
                }
            )
        moments = [(step.begin, at_begin), (step.end, at_end)]
        usual = self.tick

        def tick(controller: "Controller") -> None:
            while moments and time.monotonic() >= moments[0][0]:
                moments.pop(0)[1]()
            usual(controller)

        self.tick = tick
        try:
            step.finished = self._await(self.peers, "finished")
        finally:
            self.tick = usual
        for _, call in moments:
            call()
        final: dict[str, int] = {}
        uncounted: dict[str, int] = {}
        for finished in step.finished:
            final |= finished["final"]
            uncounted |= finished["uncounted"]
        handlers = self._of_role("handler")
        for peer in handlers:
            peer.say({"settle": {"final": final, "uncounted": uncounted}})
        settled = self._await(handlers, "settled")
        step.tallies = [each["tally"] for each in step.finished if each["tally"]] + settled
        return step


def _most(results: list[dict[str, Any]]) -> str:
    """The errors that several processes counted most often."""
    errors: dict[str, int] = {}
    for each in results:
        for what, number in each["errors"].items():
            errors[what] = errors.get(what, 0) + number
    often = sorted(errors.items(), key=lambda item: -item[1])
    return ", ".join(f"{number} × {what}" for what, number in often[:3])


@contextmanager
def workers(
    configuration: Configuration, token: str, listen: str
) -> Iterator[tuple[socket.socket, str, Callable[[], None]]]:
    """The listening socket of a controller, the token, and what says that all processes live.

    The processes are started here unless they are started elsewhere, and ended in the end.
    """
    generator = configuration.generator
    token = token or secrets.token_urlsafe(12)
    host, port = address_of(listen)
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        raise StoneError(f"generator.listen: {listen}: {error}") from None
    address = listener.getsockname()
    started: list[subprocess.Popen[bytes]] = []

    def alive() -> None:
        for process in started:
            if process.poll() is not None:
                raise StoneError(f"a loader or handler ended with status {process.returncode}")

    try:
        if not generator.remote:
            roles = ["loader"] * generator.loaders + ["handler"] * generator.handlers
            for role in roles:
                started.append(start(role, f"{address[0]}:{address[1]}", token))
        yield listener, token, alive
    except BaseException:
        for process in started:
            process.terminate()
        raise
    finally:
        listener.close()
        for process in started:
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def start(role: str, controller: str, token: str) -> "subprocess.Popen[bytes]":
    """A loader or handler on this machine."""
    program = (
        "import sys; from simplestack.stone.joining import join; sys.exit(join(*sys.argv[1:]))"
    )
    process = child(program, [role, controller])
    # Not an argument: everybody on the machine reads those.
    assert process.stdin is not None
    process.stdin.write(token.encode() + b"\n")
    process.stdin.close()
    return process
