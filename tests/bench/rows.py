"""The rows of the table: what each prepares, measures and has to reach."""

import sys
import tempfile
from pathlib import Path

from tests.bench.account import DOMAIN, accounts_of
from tests.bench.figures import Figures, MemoryFigures, Plan, Row, mean
from tests.bench.load import Load, Operation
from tests.bench.measured import measure, stretch
from tests.bench.operations import Publish, Register
from tests.bench.prepared import prepared, subscribing
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


def run_bare(plan: Plan, row: Row) -> Figures:
    """The row at the bare responder: the same requests by the same generator."""
    window = plan.window or row.window
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
            figures = measure(plan, load, operation, window, served, None)
    return figures._replace(algorithm=accounts[0].algorithm)


def run_row(plan: Plan, row: Row) -> tuple[Figures | None, Figures]:
    """Measure the server, and the bare responder before and after it."""
    window = plan.window or row.window
    bare = run_bare(plan, row) if plan.bare and not plan.profile else None
    profile = None
    if plan.profile:
        profile = Path(tempfile.mkdtemp(prefix="simplestack-profile-")) / f"{row.name}.pstats"
    with prepared(plan, row, profile) as (served, load, operation, accounts):
        figures = measure(plan, load, operation, window, served, profile)
        algorithm = accounts[0].algorithm
    if bare is not None:
        bare = mean(bare, run_bare(plan, row))
    return bare, figures._replace(
        algorithm=algorithm, profile=None if profile is None else str(profile)
    )


def run_rules(plan: Plan, row: Row) -> tuple[Figures, Figures]:
    """Measure the server without rules before and after, and in between with twenty."""
    publish = row._replace(method="PUBLISH")
    window = plan.window or row.window
    measured = []
    for rules in (0, 20, 0):
        with prepared(plan, publish, rules=rules) as (served, load, operation, accounts):
            figures = measure(plan, load, operation, window, served, None)
            measured.append(figures._replace(algorithm=accounts[0].algorithm))
    before, ruled, after = measured
    return mean(before, after), ruled


_REQUESTS = {"GET": Get, "PUT": DocumentPut, "ELEMENT": ElementPut}


def run_xcap(plan: Plan, row: Row) -> Figures:
    """Measure XCAP: one connection for each request in flight, each of another user."""
    profile = None
    if plan.profile:
        profile = Path(tempfile.mkdtemp(prefix="simplestack-profile-")) / f"{row.name}.pstats"
    window = plan.window or row.window
    requests = _REQUESTS[row.method]()
    with (
        prepared(plan, row._replace(method="XCAP"), profile) as (served, _, _, accounts),
        clients(accounts[:window], served.xcap) as documents,
    ):
        documents.perform(requests, plan.warm)
        done = documents.done
        with stretch(served, profile) as cost:
            documents.perform(requests, plan.seconds)
        done = documents.done - done
        algorithm = documents.clients[0].account.algorithm
    return cost.figures(done, window)._replace(
        algorithm=algorithm, profile=None if profile is None else str(profile)
    )


def run_memory(plan: Plan, row: Row) -> MemoryFigures:
    """Measure the server's memory before and with many subscriptions.

    Each time it waits until the transactions of the requests are gone: over UDP timer J keeps an
    answered one for 32 seconds (RFC 3261 §17.2.2).
    """
    window = plan.window or row.window
    half = plan.subscriptions // 2
    with prepared(plan, row) as (served, load, operation, _):
        load.idle(plan.settle)
        before = served.memory()
        load.perform(operation, window, half, 300)
        load.idle(plan.settle)
        middle = served.memory()
        load.perform(operation, window, plan.subscriptions - half, 300)
        at_once = served.memory()
        load.idle(plan.settle)
        return MemoryFigures(plan.subscriptions, before, middle, at_once, served.memory())
