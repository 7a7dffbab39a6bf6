"""A server that holds what a row goes out from."""

import shlex
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.bench.account import DOMAIN, Account, accounts_of
from tests.bench.figures import Plan, Row
from tests.bench.load import Load, LoadError, Operation, Sockets
from tests.bench.measured import Side
from tests.bench.operations import Publish, Register, Subscribe
from tests.bench.provision import create_users, emptied, put_rules
from tests.bench.started import (
    directory_of,
    open_server,
    running,
    sockets_made,
    telling_server,
)
from tests.bench.streams import Streams
from tests.net.doubles import Authority
from tests.ports import free_port

__all__ = ["check_apart", "prepared", "subscribing"]


def subscribing(
    load: Load, publish: Publish, accounts: list[Account], channel: Sockets | Streams
) -> Subscribe:
    """SUBSCRIBEs of all accounts to those who publish."""
    return Subscribe(
        load.dialogs, publish.targets, accounts, channel.hosts, channel.contacts, channel.token
    )


def _listen(directory: Path, port: int, transport: str, stream: int) -> list[str]:
    """Where the server listens: UDP always, and the transport of the row."""
    listen = [f"udp:{port}:interface=127.0.0.1"]
    if transport == "tcp":
        listen.append(f"tcp:{stream}:interface=127.0.0.1")
    elif transport == "tls":
        key, certificate = Authority(str(directory)).issue("localhost")
        listen.append(f"tls:{stream}:interface=127.0.0.1:privateKey={key}:certKey={certificate}")
    return listen


def check_apart(plan: Plan) -> None:
    """See that two servers that are compared have a database each."""
    if plan.store:
        raise LoadError("two servers are compared, which can't share a database: leave --store out")


@contextmanager
def prepared(
    plan: Plan, row: Row, profile: Path | None = None, rules: int = 2, transport: str = "udp"
) -> Iterator[tuple[Side, list[Account]]]:
    """The row's server, with everything in it that the row goes out from.

    Each presentity has so many ``rules``: 2, 20 or none, on a server that lets everybody watch.
    Over TCP and TLS each user has a connection of his own.
    """
    with directory_of(plan.keep) as directory, sockets_made() as sockets, ExitStack() as closing:
        accounts = accounts_of(plan.users, preferred=plan.algorithm)
        store = plan.store or f"sqlite:///{directory / 'simplestack.db'}"
        port, xcap, stream = free_port(), free_port(), free_port()
        if plan.server_command:
            command = shlex.split(
                plan.server_command.format(port=port, xcap=xcap, store=store, domain=DOMAIN)
            )
        else:
            listen = _listen(directory, port, transport, stream)
            if rules == 2:
                # Every change is told, so that the NOTIFYs of each PUBLISH can be counted.
                command = telling_server(store, listen, xcap, profile)
            else:
                command = open_server(directory, store, listen, xcap, profile)
        with emptied(plan.store):
            if plan.create_users:
                create_users(store, accounts)
            with running(plan, command, directory, port, sockets) as served:
                channel: Sockets | Streams = sockets
                if transport != "udp":
                    channel = Streams(stream, transport, len(accounts))
                    closing.callback(channel.close)
                load = Load(channel)
                window = min(row.window, 50)
                served.xcap = xcap

                def made(operation: Operation) -> tuple[Side, list[Account]]:
                    algorithm = accounts[0].algorithm
                    asked = plan.window or row.window
                    return Side(load, operation, asked, served, algorithm), accounts

                register = Register(accounts, channel.hosts, channel.token)
                if row.method == "XCAP":
                    yield made(register)
                    return
                if row.method == "REGISTER":
                    load.perform(register, window, len(accounts), 60 + len(accounts) / 500)
                    yield made(register)
                    return
                owners = accounts[: row.presentities]
                if plan.put_rules and rules:
                    many = [account.username for account in accounts] if rules == 20 else None
                    put_rules(xcap, owners, many)
                publish = Publish(owners, channel.hosts, channel.token)
                limit = 60 + len(owners) * (1 + row.watchers) / 500
                load.perform(publish, window, len(owners), limit)
                subscribe = subscribing(load, publish, accounts, channel)
                if row.method == "PUBLISH":
                    load.perform(subscribe, window, len(owners) * row.watchers, limit)
                    yield made(publish)
                else:
                    # Every watcher gets his nonce before anything is measured.
                    rounds = -(-len(accounts) // len(owners))
                    load.perform(subscribe, window, len(owners) * rounds, limit)
                    yield made(subscribe)
