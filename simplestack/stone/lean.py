"""The lean path: requests on the wire, answers and NOTIFYs matched by searching the octets.

There is no parser: what is looked at is found where the server copies it from us, or writes it as
everybody does.  A message that can't be found so takes a slow path.  Nothing here is dynamic, so
that mypyc compiles it; it runs uncompiled, too.
"""

import time
from collections import deque
from typing import Final

from simplestack.stone.credentials import Credentials, values_of
from simplestack.stone.errors import StoneError
from simplestack.stone.notifications import Notifications
from simplestack.stone.parties import Dialog, Presentity, Request
from simplestack.stone.tally import (
    METHODS,
    PUBLISH,
    SUBSCRIBE,
    UNPUBLISH,
    UNREGISTER,
    UNSUBSCRIBE,
)
from simplestack.stone.templates import mark
from simplestack.stone.wire import Link, Wire

__all__ = ["Engine"]

#: RFC 3261 §17.1.2.1: seconds before the first retransmission; doubled three times, up to T2.
_T1: Final = 0.5
_DOUBLED: Final = 3
#: Seconds until a user gives a request up (Timer F), who does nothing else meanwhile.
_TIMER_F: Final = 64 * _T1


def _why(link: Link | None) -> str:
    """What is wrong with a link, in parentheses; empty where nothing is known."""
    return f"({link.why})" if link is not None and link.why else ""


class Engine(Notifications):
    """Everything under way in a process."""

    def __init__(self, wire: Wire, worker: int, limit: float, offset: float) -> None:
        super().__init__(wire.run, limit, offset)
        self.wire = wire
        self.prefix = b"%02x" % worker
        self.next = 0
        self.pending: dict[bytes, Request] = {}
        #: The links by slot; connections that were made again; whether we were cut off.
        self.links: list[Link] = []
        self.opened: list[Link] = []
        self.away = False
        self.registering: deque[Presentity] = deque()
        self.publishing: deque[Presentity] = deque()
        self.fresh: deque[Dialog] = deque()
        self.active: deque[Dialog] = deque()
        self.done = 0
        self.failed = 0
        #: Requests under way that have failed for being late, and when each is given up.
        self.lapsed = 0
        self._lapsed: deque[tuple[float, bytes]] = deque()
        #: When to send again, and the branch: a request with credentials is another transaction.
        self._again: list[deque[tuple[float, bytes]]] = [deque() for _ in range(_DOUBLED + 1)]
        self._deadlines: deque[Request] = deque()

    # -- requests ------------------------------------------------------------------------------

    def start(self, kind: int, due: float) -> bool:
        """Begin an operation for whoever waits longest; False where nobody is free."""
        moment = self.moment(due)
        request = Request(kind, due, moment, self.begin <= moment < self.end)
        if kind <= UNREGISTER:
            if not self.registering:
                return False
            request.presentity = self.registering.popleft()
        elif kind <= UNPUBLISH:
            if not self.publishing:
                return False
            request.presentity = self.publishing.popleft()
            if kind != PUBLISH and not request.presentity.entity_tag:
                # There is nothing to refresh, or to take back.
                request.kind = kind = PUBLISH
        elif kind == SUBSCRIBE:
            if not self.fresh:
                return False
            dialog = self.fresh.popleft()
            if dialog.call:
                self.dialogs.pop(dialog.call, None)
            self.next += 1
            dialog.reset(self.prefix + b"%08x" % self.next)
            self.dialogs[dialog.call] = dialog
            dialog.due = due
            dialog.counted = request.counted
            request.dialog = dialog
        else:
            if not self.active:
                return False
            request.dialog = self.active.popleft()
        if request.counted:
            self.tally.started[kind] += 1
        self._send(request)
        self._deadlines.append(request)
        return True

    def awaited(self) -> int:
        """How many requests have an answer to come in time."""
        return len(self.pending) - self.lapsed

    def free(self, kind: int) -> int:
        """How many could begin an operation of this kind now."""
        if kind <= UNREGISTER:
            return len(self.registering)
        if kind <= UNPUBLISH:
            return len(self.publishing)
        return len(self.fresh) if kind == SUBSCRIBE else len(self.active)

    def _send(self, request: Request) -> None:
        """Send a request; without a connection it has failed."""
        try:
            self._write(request)
        except StoneError as error:
            self._refused(request, str(error))

    def _write(self, request: Request) -> None:
        self.next += 1
        branch = self.prefix + b"%08x" % self.next
        kind = request.kind
        presentity = request.presentity
        dialog = request.dialog
        link: Link
        if presentity is not None:
            link = self.link(presentity.slot)
            if presentity.link is not link:
                presentity.join(link)
            if kind <= UNREGISTER:
                data = presentity.register.write(branch, kind == UNREGISTER)
            elif kind == PUBLISH:
                request.serial = presentity.serial + 1
                data = presentity.publish.write(
                    branch,
                    presentity.entity_tag,
                    mark(self.wire.run, presentity.index, request.serial, request.moment),
                    False,
                )
            else:
                data = presentity.publish.write(
                    branch, presentity.entity_tag, b"", kind == UNPUBLISH
                )
        elif dialog is not None:
            watcher = dialog.watcher
            link = self.link(watcher.slot)
            if watcher.link is not link:
                watcher.join(link)
            dialog.number += 1
            inside = kind != SUBSCRIBE
            data = watcher.subscribe.write(
                branch,
                dialog.call,
                dialog.number,
                dialog.target,
                dialog.to,
                dialog.route + dialog.extra if inside else dialog.extra + dialog.initial,
                b"" if inside else dialog.body,
                kind == UNSUBSCRIBE,
            )
        else:
            return
        request.branch = branch
        request.data = data
        request.link = link
        self.pending[branch] = request
        if self.counting:
            self.tally.count(METHODS[kind])
            self.tally.octets_out += len(data)
        link.send(data)
        if not self.wire.reliable:
            self._again[0].append((time.monotonic() + _T1, branch))

    def link(self, slot: int) -> Link:
        """The link of a slot; one that was lost is opened again.

        Raises StoneError where the server does not take a connection.
        """
        link = self.links[slot]
        if not link.open:
            link = self.wire.open()
            if not self.away and self.measured(time.monotonic()):
                self.tally.error("connection: lost", _why(self.links[slot]))
            self.opened.append(link)
            self.links[slot] = link
        return link

    def drop(self) -> None:
        """Lose every connection, and every dialog, as after an outage of the network."""
        self.away = True
        if self.wire.reliable:
            for link in self.links:
                self.wire.keep_session(link)
                self.wire.close(link)
        for dialog in self.dialogs.values():
            self.fresh.append(dialog)
        self.dialogs.clear()
        self.active.clear()

    def advance(self, now: float) -> None:
        """Send again what has no answer yet, and give up what is over its limit."""
        level = 0
        for waiting in self._again:
            while waiting and waiting[0][0] <= now:
                branch = waiting.popleft()[1]
                again = self.pending.get(branch)
                if again is None:
                    continue
                if again.counted:
                    self.tally.retransmitted += 1
                if again.link is not None:
                    again.link.send(again.data)
                following = min(level + 1, _DOUBLED)
                self._again[following].append((now + _T1 * (1 << following), branch))
            level += 1
        deadlines = self._deadlines
        over = now - self.limit
        while deadlines:
            request = deadlines[0]
            waiting_still = self.pending.get(request.branch) is request
            if waiting_still and request.due > over:
                break
            deadlines.popleft()
            if waiting_still:
                self._failed(request, "no answer", _why(request.link))
                if request.link is None or request.link.open:
                    # It may be answered still, and its user does not know what has become of it.
                    request.lapsed = True
                    self.lapsed += 1
                    self._lapsed.append((request.due + _TIMER_F, request.branch))
                else:
                    del self.pending[request.branch]
                    self._release(request)
        while self._lapsed and self._lapsed[0][0] <= now:
            given_up = self.pending.pop(self._lapsed.popleft()[1], None)
            if given_up is not None:
                self.lapsed -= 1
                self._release(given_up)

    def wakeup(self) -> float:
        """When ``advance`` has something to do."""
        soonest = 1e18
        for waiting in self._again:
            if waiting and waiting[0][0] < soonest:
                soonest = waiting[0][0]
        if self._deadlines:
            over = self._deadlines[0].due + self.limit
            if over < soonest:
                soonest = over
        return soonest

    def receive(self, wait: float) -> int:
        """Take what comes within so many seconds; how many messages there were."""
        messages = self.wire.read(wait)
        for link, data in messages:
            if data[:8] == b"SIP/2.0 ":
                self._response(data)
            else:
                try:
                    self.take(link, data)
                except ValueError:
                    # A number that is none.
                    self.tally.strays += 1
            if self.counting:
                self.tally.octets_in += len(data)
        return len(messages)

    def _response(self, data: bytes) -> None:
        at = data.find(b"z9hG4bK") + 13
        request = self.pending.get(data[at : at + 10])
        if request is None:
            if self.counting:
                self.tally.count("other response")
            return
        status = data[8:11]
        if status[:1] == b"1":
            return
        kind = request.kind
        if self.counting:
            self.tally.count(METHODS[kind] + (" 2xx" if status[:1] == b"2" else " other"))
        del self.pending[request.branch]
        if request.lapsed:
            self.lapsed -= 1
        if status[:1] != b"2":
            self._challenged(request, status, data)
            return
        presentity = request.presentity
        dialog = request.dialog
        if presentity is not None:
            credentials = presentity.credentials
            if kind >= PUBLISH:
                if kind == UNPUBLISH:
                    presentity.entity_tag = b""
                else:
                    at = data.find(b"\r\nSIP-ETag: ")
                    if at >= 0:
                        presentity.entity_tag = data[at + 12 : data.find(b"\r\n", at + 12)]
                    else:
                        presentity.entity_tag = b"".join(values_of(data, b"SIP-ETag"))
                if kind == PUBLISH:
                    presentity.serial = request.serial
                    if not request.counted:
                        presentity.uncounted = request.serial
                self.publishing.append(presentity)
            else:
                self.registering.append(presentity)
        elif dialog is not None:
            credentials = dialog.watcher.credentials
            self._subscribed(dialog, kind, data)
        else:
            return
        if credentials.algorithm:
            at = data.find(b'nextnonce="')
            if at >= 0:
                credentials.adopt(data[at + 11 : data.find(b'"', at + 11)].decode())
        if request.lapsed:
            return
        self.done += 1
        if request.counted:
            self.tally.succeeded[kind] += 1
            self.tally.answers[kind].note(int((time.monotonic() - request.due) * 1000000.0))

    def _subscribed(self, dialog: Dialog, kind: int, data: bytes) -> None:
        if kind == UNSUBSCRIBE:
            dialog.state = 2
            self.fresh.append(dialog)
            return
        if kind == SUBSCRIBE:
            # RFC 3261 §12.1.2: the To tag, the remote target, the route set in reverse.
            to = values_of(data, b"To", b"t")
            contact = values_of(data, b"Contact", b"m")
            if to and contact:
                dialog.to = to[0]
                dialog.target = contact[0].partition(b"<")[2].partition(b">")[0] or contact[0]
            routes = values_of(data, b"Record-Route")
            dialog.route = b"".join(b"Route: %b\r\n" % each for each in reversed(routes))
        if dialog.state != 2:
            dialog.state = 1
            self.active.append(dialog)
        else:
            self.fresh.append(dialog)

    def _challenged(self, request: Request, status: bytes, data: bytes) -> None:
        """Send again with credentials after the first 401; count any other refusal."""
        presentity = request.presentity
        dialog = request.dialog
        credentials: Credentials | None = None
        if presentity is not None:
            credentials = presentity.credentials
        elif dialog is not None:
            credentials = dialog.watcher.credentials
        if (
            not request.lapsed
            and (status == b"401" or status == b"407")
            and request.challenges < 2
            and (credentials is not None and credentials.answers)
        ):
            try:
                credentials.challenged(data)
            except StoneError as error:
                self._refused(request, str(error))
                return
            request.challenges += 1
            if request.counted:
                self.tally.challenged += 1
            self._send(request)
            return
        if presentity is not None and status == b"412":
            presentity.entity_tag = b""
        if request.lapsed:
            self._release(request)
            return
        line = data.partition(b"\r\n")[0][8:].decode("utf-8", "replace")
        warning = b"".join(values_of(data, b"Warning")).decode("utf-8", "replace")
        self._refused(request, line, warning)

    def _refused(self, request: Request, why: str, more: str = "") -> None:
        self._failed(request, why, more)
        self._release(request)

    def _failed(self, request: Request, why: str, more: str) -> None:
        self.failed += 1
        if request.counted:
            self.tally.error(f"{METHODS[request.kind]}: {why}", more)

    def _release(self, request: Request) -> None:
        """Let the user of a request that has failed do something else."""
        if request.presentity is not None:
            if request.kind <= UNREGISTER:
                self.registering.append(request.presentity)
            else:
                self.publishing.append(request.presentity)
        elif request.dialog is not None:
            # The subscription is gone, or not known: the next one is in a new dialog.
            self.fresh.append(request.dialog)
