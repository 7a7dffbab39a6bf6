"""A loader or a handler: a process that does what the controller says."""

import json
import os
import resource
import select
import socket
import time
from collections import deque
from random import Random
from typing import Any

from simplestack import __version__
from simplestack.stone.configuration import Configuration, from_values
from simplestack.stone.credentials import Credentials
from simplestack.stone.errors import StoneError
from simplestack.stone.lean import Engine
from simplestack.stone.parties import Dialog, Presentity, Watcher
from simplestack.stone.population import pairs, watcher_number
from simplestack.stone.reckoning import count_missing, unshown, untold
from simplestack.stone.scenarios import SCENARIOS
from simplestack.stone.schedule import Source, moments
from simplestack.stone.surroundings import own_bodies
from simplestack.stone.tally import KINDS, NOBODY, PUBLISH, RESUBSCRIBE, SUBSCRIBE, UNPUBLISH, Tally
from simplestack.stone.templates import Body
from simplestack.stone.wire import Wire

__all__ = ["Worker", "list_of"]

#: Seconds between two looks at what the controller says.
_LOOK = 0.01
#: Seconds between two signs of life while there is something to do.
_SIGN = 0.5
#: Seconds that answers are waited for by somebody who is told to leave off.
_PARTING = 5.0
#: Requests that begin before what has come is read.
_BURST = 32
_PLAIN = b"Accept: application/pidf+xml\r\n"
_LISTED = (
    b"Accept: application/pidf+xml, application/rlmi+xml, multipart/related\r\n"
    b"Supported: eventlist\r\n"
)
_LIST = (
    b"Require: recipient-list-subscribe\r\nContent-Type: application/resource-lists+xml\r\n"
    b"Content-Disposition: recipient-list\r\n"
)


def list_of(uris: list[bytes]) -> bytes:
    """The body of a SUBSCRIBE to all of these (RFC 5367 §4)."""
    entries = b"".join(b'<entry uri="%b"/>' % uri for uri in uris)
    return (
        b'<?xml version="1.0" encoding="UTF-8"?>\r\n'
        b'<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"><list>%b</list>'
        b"</resource-lists>\r\n" % entries
    )


class Worker:
    """One process's part of a run."""

    def __init__(self, role: str, connection: socket.socket, token: str) -> None:
        self.role = role
        self._connection = connection
        self._in = bytearray()
        self._out = bytearray()
        self._commands: deque[dict[str, Any]] = deque()
        self._looked = 0.0
        #: Whether something is being done, when that was last said, and whether to leave off.
        self._busy = False
        self._told = 0.0
        self._stopping = False
        self._engine: Engine | None = None
        self._configuration = Configuration()
        self._index = 0
        self._of = 1
        self._presentities: list[Presentity] = []
        self._dialogs: list[Dialog] = []
        connection.setblocking(False)
        self._say({"hello": role, "token": token, "version": __version__, "pid": os.getpid()})

    # -- the controller ------------------------------------------------------------------------

    def _say(self, message: dict[str, Any]) -> None:
        self._out += json.dumps(message).encode() + b"\n"
        self._flush()

    def _flush(self) -> None:
        try:
            while self._out:
                del self._out[: self._connection.send(self._out)]
        except BlockingIOError:
            pass
        except OSError as error:
            raise StoneError(f"the controller is gone: {error}") from None

    def _look(self, now: float) -> None:
        """Take what the controller has said.  Raises StoneError once it is gone."""
        self._looked = now
        over = False
        try:
            self._flush()
            while True:
                chunk = self._connection.recv(65536)
                if not chunk:
                    over = True
                    break
                self._in += chunk
        except BlockingIOError:
            pass
        except OSError as error:
            raise StoneError(f"the controller is gone: {error}") from None
        while (end := self._in.find(b"\n")) >= 0:
            command: dict[str, Any] = json.loads(self._in[:end])
            del self._in[: end + 1]
            # The clock is asked for while nothing else is going on; answered at once.
            if "clock" in command:
                self._say({"clock": time.monotonic()})
            elif "stop" in command:
                # What was to be done before it is not done any more.
                self._stopping = True
                self._commands.clear()
                self._commands.append(command)
            else:
                self._commands.append(command)
        if self._busy and now - self._told > _SIGN:
            self._told = now
            self._say({"busy": True})
        if over and not self._commands:
            raise StoneError("the controller is gone")

    def _turn(self, wait: float) -> float:
        """Serve the wire once; the time afterwards."""
        engine = self._engine
        if not self._busy:
            # What is asked now is the time of our clock: the answer must not wait.
            watched: list[socket.socket | Wire] = [self._connection]
            if engine is not None:
                watched.append(engine.wire)
            if self._connection in select.select(watched, [], [], wait)[0]:
                self._looked = 0.0
            wait = 0.0
        if engine is not None:
            engine.receive(min(wait, _LOOK))
            engine.advance(time.monotonic())
        now = time.monotonic()
        if now - self._looked > _LOOK:
            self._look(now)
        return now

    def run(self) -> None:
        """Do what is said until the end.  Raises StoneError once the controller is gone."""
        while True:
            while not self._commands:
                self._turn(_LOOK)
            command = self._commands.popleft()
            if "end" in command:
                break
            if "refused" in command:
                raise StoneError(f"the controller refuses: {command['refused']}")
            self._busy, self._told = True, time.monotonic()
            try:
                self._do(command)
            except StoneError as error:
                self._say({"failed": str(error)})
            self._busy = False
        if self._engine is not None:
            self._engine.wire.close_all()

    def _do(self, command: dict[str, Any]) -> None:
        if "configure" in command:
            self._configure(command)
            self._say({"configured": True})
        elif "prepare" in command:
            within = command.get("within")
            end = float("inf") if within is None else time.monotonic() + float(within)
            self._say({"prepared": self._prepare(int(command["prepare"]), end)})
        elif "stop" in command:
            self._leave_off()
            self._say({"stopped": True})
        elif "outage" in command:
            assert self._engine is not None
            self._engine.drop()
            self._say({"cut": True})
        elif "recover" in command:
            self._recover()
            self._say({"recovered": True})
        elif "step" in command:
            self._say({"finished": self._step(command["step"])})
        elif "settle" in command:
            self._say({"settled": self._settle(command["settle"])})

    # -- who is there --------------------------------------------------------------------------

    def _configure(self, command: dict[str, Any]) -> None:
        if self._engine is not None:
            self._engine.wire.close_all()
        configuration = self._configuration = from_values(command["configure"])
        server, load = configuration.server, configuration.load
        self._index, self._of = int(command["index"]), int(command["of"])
        run = str(command["run"]).encode()
        wire = Wire((server.host, server.port), server.transport, run, server.ca, load.tls_reuse)
        engine = self._engine = Engine(
            wire, int(command["number"]), load.limit, float(command["offset"])
        )
        self._presentities, self._dialogs = [], []
        users = range(
            self._index,
            load.presentities if self.role == "loader" or load.mutual else load.watchers,
            self._of,
        )
        for _ in range(min(load.connections or len(users), len(users)) or 1):
            engine.links.append(wire.open())
        if self.role == "loader":
            self._make_presentities(users)
        else:
            self._make_watchers()

    def _credentials(self, number: int) -> Credentials:
        users = self._configuration.users
        number += users.first
        return Credentials(
            users.user.format(number), users.password.format(number), users.algorithm, users.digest
        )

    def _make_presentities(self, users: range) -> None:
        engine = self._engine
        assert engine is not None
        load, domain = self._configuration.load, self._configuration.server.domain.encode()
        own = own_bodies(load.bodies) if load.bodies else []
        for at, index in enumerate(users):
            credentials = self._credentials(index)
            slot = at % len(engine.links)
            link = engine.links[slot]
            name = credentials.username.encode()
            entity = b"sip:%b@%b" % (name, domain)
            if own:
                body = Body.own(own[index % len(own)], entity, b"application/pidf+xml")
            else:
                body = Body.of_size(entity, link.contact(name), load.body)
            made = Presentity(index, credentials, domain, load.expires, body, slot, link)
            self._presentities.append(made)
        engine.registering.extend(self._presentities)
        engine.publishing.extend(self._presentities)

    def _make_watchers(self) -> None:
        engine = self._engine
        assert engine is not None
        load, domain = self._configuration.load, self._configuration.server.domain.encode()
        pattern, first = self._configuration.users.user, self._configuration.users.first
        watchers: dict[int, Watcher] = {}
        watched: dict[int, list[int]] = {}
        for watcher, presentity in pairs(load):
            if watcher % self._of == self._index:
                watched.setdefault(watcher, []).append(presentity)
        for at, index in enumerate(watched):
            slot = at % len(engine.links)
            watchers[index] = Watcher(
                self._credentials(watcher_number(load, index)),
                domain,
                load.expires,
                slot,
                engine.links[slot],
            )
        for index, presentities in watched.items():
            uris = [
                b"sip:%b@%b" % (pattern.format(each + first).encode(), domain)
                for each in presentities
            ]
            watcher_of = watchers[index]
            if load.lists:
                self._dialogs.append(
                    Dialog(watcher_of, -1, watcher_of.aor, _LISTED, _LIST, list_of(uris))
                )
                continue
            self._dialogs += [
                Dialog(watcher_of, presentity, uri, _PLAIN)
                for presentity, uri in zip(presentities, uris, strict=True)
            ]
        Random(load.seed * 256 + self._index).shuffle(self._dialogs)
        engine.fresh.extend(self._dialogs)

    # -- what is done --------------------------------------------------------------------------

    def _leave_off(self) -> None:
        """Let what is under way be answered, so that all of it can be taken back."""
        engine = self._engine
        if engine is not None:
            until = time.monotonic() + min(self._configuration.load.limit, _PARTING)
            while engine.awaited() and time.monotonic() < until:
                self._turn(_LOOK)
        self._stopping = False

    def _recover(self) -> None:
        """After a step that was too much: answers may come still, and some are not there any more."""
        engine = self._engine
        assert engine is not None
        engine.tally = Tally()
        while engine.pending and not self._stopping:
            self._turn(_LOOK)
        scenario = SCENARIOS[self._configuration.load.scenario]
        if self.role == "loader":
            if PUBLISH in scenario.prepared:
                without = [each for each in engine.publishing if not each.entity_tag]
                engine.publishing = deque(
                    without + [each for each in engine.publishing if each.entity_tag]
                )
                self._everybody(PUBLISH, len(without))
        elif SUBSCRIBE in scenario.prepared:
            # The server may have given up watchers without a word: it says so when they ask.
            over = [each for each in engine.active if each.state == 2]
            engine.fresh.extend(over)
            engine.active = deque(each for each in engine.active if each.state != 2)
            self._everybody(RESUBSCRIBE, len(engine.active))
            self._prepare(SUBSCRIBE)

    def _prepare(self, kind: int, until: float = float("inf")) -> dict[str, Any]:
        """Everybody does it once, a window of them at a time, and begins nothing after a moment."""
        engine = self._engine
        assert engine is not None
        if kind == UNPUBLISH:
            engine.publishing = deque(each for each in engine.publishing if each.entity_tag)
        tally = engine.tally = Tally()
        count = engine.free(kind)
        self._everybody(kind, count, until)
        if kind == SUBSCRIBE:
            # The first NOTIFYs are told from those of changes.
            end = time.monotonic() + self._configuration.load.limit
            while time.monotonic() < end and unshown(engine.dialogs) and not self._stopping:
                self._turn(_LOOK)
        engine.end = 0
        return {
            "done": tally.succeeded[kind],
            "count": count,
            "errors": tally.errors,
            "unshown": unshown(engine.dialogs) if kind == SUBSCRIBE else 0,
        }

    def _everybody(self, kind: int, count: int, until: float = float("inf")) -> None:
        engine = self._engine
        assert engine is not None
        window = self._configuration.generator.window
        engine.begin, engine.end = 0, 1 << 62
        before = engine.done + engine.failed
        started = 0
        told = time.monotonic()
        while engine.done + engine.failed - before < count and not self._stopping:
            now = time.monotonic()
            if now > until:
                break
            while engine.awaited() < window and started < count:
                if not engine.start(kind, now):
                    break
                started += 1
            now = self._turn(_LOOK)
            if now - told > 0.5:
                told = now
                self._say({"preparing": [kind, engine.done + engine.failed - before, count]})

    def _step(self, step: dict[str, Any]) -> dict[str, Any]:
        """Do what is due, at its moment, and let what is under way finish."""
        engine = self._engine
        assert engine is not None
        generator, load = self._configuration.generator, self._configuration.load
        engine.offset = float(step["offset"])
        start = float(step["at"]) - engine.offset
        begin = start + float(step["warm"])
        end = begin + float(step["length"])
        for each in self._presentities:
            each.uncounted = each.serial
        while time.monotonic() < start - 0.002:
            self._turn(0.001)
        engine.opened.clear()
        tally = engine.tally = Tally()
        engine.begin, engine.end = engine.moment(begin), engine.moment(end)
        sources = []
        for kind, rate in step["mix"].items():
            random = Random(f"{load.seed} {self.role} {self._index} {kind}")
            most = self._count(int(kind)) if step["outage"] else None
            at = moments(
                start,
                end,
                float(rate) / self._of,
                (self._index + 0.5) / self._of,
                random if load.arrivals == "poisson" else None,
            )
            sources.append(Source(int(kind), at, most))
        cpu = time.process_time()
        told = now = time.monotonic()
        most_pending, beginning = generator.in_flight, cpu
        measured = 0.0
        while now < end and not self._stopping:
            counting = now >= begin
            if counting and not engine.counting:
                engine.counting, beginning = True, time.process_time()
            soonest = self._begin(sources, now, most_pending)
            wait = min(soonest, engine.wakeup(), end) - time.monotonic()
            now = self._turn(max(wait, 0.0))
            if now - told > 0.5:
                told = now
                self._say({"progress": self._progress()})
        measured = time.process_time() - beginning
        engine.counting = False
        # What was due has as long as all the others to find somebody who is free.
        while any(source.due < end for source in sources) and not self._stopping:
            self._begin(sources, now, most_pending)
            now = self._turn(
                _LOOK if all(source.due >= end or source.blocked for source in sources) else 0.0
            )
        until = now + load.limit + 0.1
        while engine.awaited() and now < until and not self._stopping:
            now = self._turn(_LOOK)
        engine.away = False
        final = {each.index: each.serial for each in self._presentities}
        return {
            "tally": tally.values() if self.role == "loader" else {},
            "opened": len(engine.opened),
            "resumed": sum([link.resumed for link in engine.opened]),
            "final": final,
            "uncounted": {each.index: each.uncounted for each in self._presentities},
            "cpu": measured,
            "cpu_all": time.process_time() - cpu,
            "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }

    def _begin(self, sources: list[Source], now: float, most: int) -> float:
        """Begin what is due; when the next one is."""
        engine = self._engine
        assert engine is not None
        tally = engine.tally
        soonest = float("inf")
        burst = 0
        for source in sources:
            while source.due <= now:
                if burst == _BURST:
                    return now
                if len(engine.pending) < most and engine.start(source.kind, source.due):
                    if source.due > source.waited:
                        tally.lag.note(int((time.monotonic() - source.due) * 1e6))
                    burst += 1
                elif now - source.due > engine.limit:
                    if engine.begin <= engine.moment(source.due) < engine.end:
                        tally.started[source.kind] += 1
                        tally.error(f"{KINDS[source.kind]}: {NOBODY}")
                else:
                    source.blocked, source.waited = True, now
                    break
                source.advance()
            if not source.blocked and source.due < soonest:
                soonest = source.due
        return soonest

    def _count(self, kind: int) -> int:
        return len(self._dialogs if kind >= SUBSCRIBE else self._presentities)

    def _progress(self) -> dict[str, Any]:
        engine = self._engine
        assert engine is not None
        tally = engine.tally
        return {
            "messages": sum(tally.messages.values()),
            "started": sum(tally.started),
            "succeeded": sum(tally.succeeded),
            "told": tally.notified + tally.superseded,
            "late": tally.late,
            "pending": len(engine.pending),
            "errors": sum(tally.errors.values()),
        }

    def _settle(self, settle: dict[str, Any]) -> dict[str, Any]:
        """A handler waits until all is told, or can't be in time any more."""
        engine = self._engine
        assert engine is not None
        final, uncounted = (
            {int(key): int(value) for key, value in settle[name].items()}
            for name in ("final", "uncounted")
        )
        until = time.monotonic() + self._configuration.load.limit
        while time.monotonic() < until and untold(engine.dialogs, final) and not self._stopping:
            self._turn(_LOOK)
            # A few looks are enough, and each goes round all dialogs.
            pause = time.monotonic() + 0.1
            while time.monotonic() < pause:
                self._turn(_LOOK)
        count_missing(engine.dialogs, final, uncounted, engine.tally)
        return engine.tally.values()
