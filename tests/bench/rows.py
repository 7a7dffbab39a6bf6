"""The rows of the table: what each prepares, measures and has to reach."""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.account import DOMAIN, accounts_of
from tests.bench.figures import Figures, MemoryFigures, Plan, Row
from tests.bench.load import Load, Operation
from tests.bench.measured import Side, compare, measure, stretch
from tests.bench.operations import Publish, Register
from tests.bench.prepared import check_apart, prepared, subscribing
from tests.bench.started import directory_of, running, sockets_made
from tests.bench.xcap import DocumentPut, ElementPut, Get, clients
from tests.ports import free_port

__all__ = ["ROWS", "run_bare", "run_memory", "run_row", "run_rules", "run_xcap"]


ROWS = (
    Row("register", "REGISTER refresh", "REGISTER", 0, 0, 64, 6),
    Row("publish-0", "PUBLISH modify, 0 watchers", "PUBLISH", 0, 200, 64, 10),
    Row("publish-1", "PUBLISH modify, 1 watcher", "PUBLISH", 1, 200, 40, 8),
    Row("publish-10", "PUBLISH modify, 10 watchers", "PUBLISH", 10, 100, 12, 4),
    Row("publish-50", "PUBLISH modify, 50 watchers", "PUBLISH", 50, 40, 2, 3),
    Row("rules", "PUBLISH modify, 50, 20 rules", "RULES", 50, 40, 2, 2),
    Row("subscribe", "new SUBSCRIBE with its NOTIFY", "SUBSCRIBE", 0, 200, 56, 6),
    Row("xcap-get", "XCAP GET, 100 entries", "GET", 0, 32, 32, 3000),
    Row("xcap-put", "XCAP PUT, 100 entries", "PUT", 0, 32, 32, 1500),
    Row("xcap-element", "XCAP PUT of one entry of 100", "ELEMENT", 0, 32, 32, 1000),
    Row("core", "messages/s, 10 watchers, one core", "PUBLISH", 10, 100, 12, 40_000),
    Row("memory", "octets per subscription", "SUBSCRIBE", 0, 200, 40, 4096),
)


@contextmanager
def _bare(plan: Plan, row: Row) -> Iterator[Side]:
    """The bare responder, asked the same by the same generator."""
    with directory_of(False) as directory, sockets_made() as sockets:
        accounts = accounts_of(plan.users, preferred=plan.algorithm)
        for account in accounts:
            account.adopt(plan.algorithm or "SHA-512-256", DOMAIN, "0123456789abcdef" * 2)
        watchers = 1 if row.method == "SUBSCRIBE" else row.watchers
        port = free_port()
        command = [sys.executable, "-m", "tests.bench.bare"]
        command += [str(port), str(watchers), str(sockets.watcher_port)]
        with running(plan, command, directory, port, sockets) as served:
            load = Load(sockets, bare=True)
            operation: Operation
            if row.method == "REGISTER":
                operation = Register(accounts, sockets.hosts)
            else:
                publish = Publish(accounts[: row.presentities], sockets.hosts)
                for target in publish.targets:
                    target.watchers = row.watchers
                    target.entity_tag = b"canned"
                operation = publish
                if row.method == "SUBSCRIBE":
                    operation = subscribing(load, publish, accounts, sockets)
            window = plan.window or row.window
            yield Side(load, operation, window, served, accounts[0].algorithm)


def run_bare(plan: Plan, row: Row) -> Figures:
    """Measure the bare responder alone."""
    with _bare(plan, row) as bare:
        return measure(plan, bare)


def run_row(plan: Plan, row: Row) -> tuple[Figures | None, Figures]:
    """Measure the server, beside the bare responder where that is wanted."""
    if plan.profile or not plan.bare:
        profile = None
        if plan.profile:
            profile = Path(tempfile.mkdtemp(prefix="simplestack-profile-")) / f"{row.name}.pstats"
        with prepared(plan, row, profile) as (side, _):
            return None, measure(plan, side, profile)
    with _bare(plan, row) as bare, prepared(plan, row) as (side, _):
        return compare(plan, bare, side)


def run_rules(plan: Plan, row: Row) -> tuple[Figures, Figures]:
    """Measure a server with twenty rules for each user, beside one without rules."""
    check_apart(plan)
    publish = row._replace(method="PUBLISH")
    with (
        prepared(plan, publish, rules=0) as (without, _),
        prepared(plan, publish, rules=20) as (ruled, _),
    ):
        return compare(plan, without, ruled)


_REQUESTS = {"GET": Get, "PUT": DocumentPut, "ELEMENT": ElementPut}


def run_xcap(plan: Plan, row: Row) -> Figures:
    """Measure XCAP: one connection for each request in flight, each of another user."""
    profile = None
    if plan.profile:
        profile = Path(tempfile.mkdtemp(prefix="simplestack-profile-")) / f"{row.name}.pstats"
    requests = _REQUESTS[row.method]()
    with (
        prepared(plan, row._replace(method="XCAP"), profile) as (side, accounts),
        clients(accounts[: side.window], side.served.xcap) as documents,
    ):
        documents.perform(requests, plan.warm)
        done = documents.done
        with stretch(side.served, profile) as cost:
            documents.perform(requests, plan.seconds)
        done = documents.done - done
        algorithm = documents.clients[0].account.algorithm
    return cost.figures(done, side.window)._replace(
        algorithm=algorithm, profile=None if profile is None else str(profile)
    )


def run_memory(plan: Plan, row: Row) -> MemoryFigures:
    """Measure the server's memory before and with many subscriptions.

    Each time it waits until the transactions of the requests are gone: over UDP timer J keeps an
    answered one for 32 seconds (RFC 3261 §17.2.2).
    """
    half = plan.subscriptions // 2
    with prepared(plan, row) as (side, _):
        load, operation, window, served, _ = side
        load.idle(plan.settle)
        before = served.memory()
        load.perform(operation, window, half, 300)
        load.idle(plan.settle)
        middle = served.memory()
        load.perform(operation, window, plan.subscriptions - half, 300)
        at_once = served.memory()
        load.idle(plan.settle)
        return MemoryFigures(plan.subscriptions, before, middle, at_once, served.memory())
