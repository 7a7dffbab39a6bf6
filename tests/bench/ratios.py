"""Rows whose measure is the same at another server in the same run: transport, database, size."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from tests.bench.figures import Figures, Plan, Row
from tests.bench.load import LoadError
from tests.bench.measured import Side, compare, measure
from tests.bench.prepared import check_apart, prepared
from tests.store.cluster import Cluster, programs

__all__ = ["RATIOS", "beside", "run_core", "run_profiled", "run_ratio"]

#: Name, title, method, watchers, presentities, requests in flight.
_OPERATIONS = (
    ("register", "REGISTER", "REGISTER", 0, 0, 64),
    ("publish-0", "PUBLISH", "PUBLISH", 0, 200, 64),
    ("publish-1", "PUBLISH, 1 watcher", "PUBLISH", 1, 200, 40),
    ("publish-10", "PUBLISH, 10 watchers", "PUBLISH", 10, 100, 10),
    ("subscribe", "SUBSCRIBE, NOTIFY", "SUBSCRIBE", 0, 200, 40),
)
#: Name, in titles, the multiple of the same otherwise to stay within, and of which operations.
_KINDS = (
    ("tcp", "TCP", 1.3, _OPERATIONS),
    ("tls", "TLS", 1.6, _OPERATIONS),
    ("postgresql", "PostgreSQL", 1.3, _OPERATIONS),
    ("growth", "growth", 1.2, (_OPERATIONS[0], _OPERATIONS[2])),
)


#: What is measured beside the same operation otherwise; the target is the multiple of that.
RATIOS = tuple(
    [
        Row(f"{kind}-{name}", f"{title}, {said}", method, watchers, presentities, window, most)
        for kind, said, most, operations in _KINDS
        for name, title, method, watchers, presentities, window in operations
    ]
)


def beside(plan: Plan, row: Row) -> str:
    """What the multiple of such a row is of."""
    return {
        "tcp": "over UDP",
        "tls": "over UDP",
        "postgresql": "with SQLite",
        "growth": f"with {_FEW:,} users, and this with {plan.many:,}",
    }[row.name.partition("-")[0]]


#: The size that growth begins from.
_FEW = 1000
#: Seconds until the transactions of what was prepared are gone: timer J (RFC 3261 §17.2.2), and a
#: little more.  Those of a hundred thousand users would be in the figure, as large as it is itself.
_SETTLED = 35.0


@contextmanager
def _cluster() -> Iterator[str]:
    found = programs()
    if found is None:
        raise LoadError("PostgreSQL's server is not installed")
    # As its own defaults have it: a commit waits until it is on the disk.
    cluster = Cluster(found, "-c fsync=on")
    try:
        yield cluster.url
    finally:
        cluster.remove()


@contextmanager
def _other(plan: Plan, row: Row) -> Iterator[tuple[Side, Side]]:
    """What a row is compared with, and the row itself, both prepared."""
    check_apart(plan)
    kind = row.name.partition("-")[0]
    with ExitStack() as made:
        if kind == "growth":
            sides = []
            for users in (_FEW, plan.many):
                sized = replace(plan, users=users), row._replace(presentities=users)
                side, _ = made.enter_context(prepared(*sized, rules=0))
                # Once round everybody, so that all know whatever is remembered of them.
                side.load.perform(side.operation, side.window, users, 60 + users / 200)
                sides.append(side)
            time.sleep(_SETTLED)
            few, many = sides
            yield few, many
            return
        other, _ = made.enter_context(prepared(plan, row))
        if kind == "postgresql":
            plan = replace(plan, store=made.enter_context(_cluster()))
            kind = "udp"
        yield other, made.enter_context(prepared(plan, row, transport=kind))[0]


def run_ratio(plan: Plan, row: Row) -> tuple[Figures, Figures]:
    """Measure a row beside what it is compared with."""
    with _other(plan, row) as (other, side):
        return compare(plan, other, side)


def run_profiled(plan: Plan, row: Row) -> Figures:
    """Measure a row of TCP or TLS under the profiler, and nothing beside it."""
    profile = Path(tempfile.mkdtemp(prefix="simplestack-profile-")) / f"{row.name}.pstats"
    kind = row.name.partition("-")[0]
    with prepared(plan, row, profile, transport=kind) as (side, _):
        return measure(plan, side, profile)


def run_core(plan: Plan, row: Row) -> Figures:
    """Measure a server that has one core, and no more, for all its threads."""
    cpus = plan.server_cpus
    plan = replace(plan, server_cpus={min(cpus)} if cpus else {0})
    with prepared(plan, row) as (side, _):
        return measure(plan, side)
