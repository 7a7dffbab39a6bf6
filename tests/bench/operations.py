"""The operations that rows measure: REGISTER refresh, PUBLISH modify, new SUBSCRIBE."""

from collections import deque

from tests.bench.account import Account, values_of
from tests.bench.load import Dialog, Exchange, Target
from tests.bench.messages import (
    EVERY_NOTIFY,
    PublishTemplate,
    RegisterTemplate,
    SubscribeTemplate,
    mark_of,
)

__all__ = ["Publish", "Register", "Subscribe"]

_ENTITY_TAG = b"\r\nSIP-ETag: "

Hosts = bytes | list[bytes]
"""The sent-by of all users, or of each by his index."""


def _of(hosts: Hosts, account: Account) -> bytes:
    return hosts if isinstance(hosts, bytes) else hosts[account.index]


class Register:
    """REGISTER round the accounts: the first of each creates the binding, the others refresh."""

    def __init__(self, accounts: list[Account], hosts: Hosts, transport: bytes = b"UDP") -> None:
        self._templates = [
            RegisterTemplate(account, _of(hosts, account), transport) for account in accounts
        ]
        self._idle = deque((account, Target(at)) for at, account in enumerate(accounts))

    def next(self) -> Exchange | None:
        """The account that has waited longest."""
        return Exchange(*self._idle.popleft()) if self._idle else None

    def write(self, exchange: Exchange, serial: bytes, number: int) -> bytes:
        """Its REGISTER."""
        return self._templates[exchange.target.index].write(serial, number)

    def answered(self, exchange: Exchange, response: bytes) -> None:
        """Nothing is needed from it."""

    def finished(self, exchange: Exchange) -> None:
        """The account may register again."""
        self._idle.append((exchange.account, exchange.target))

    def failed(self, exchange: Exchange, status: bytes) -> None:
        """The account tries again in its turn."""
        self.finished(exchange)


class Publish:
    """PUBLISH round the presentities: the first of each creates, the others modify."""

    def __init__(self, accounts: list[Account], hosts: Hosts, transport: bytes = b"UDP") -> None:
        self.targets = [Target(at, account.aor) for at, account in enumerate(accounts)]
        self._templates = [
            PublishTemplate(account, _of(hosts, account), transport) for account in accounts
        ]
        self._idle = deque(zip(accounts, self.targets, strict=True))

    def next(self) -> Exchange | None:
        """The presentity that has waited longest."""
        if not self._idle:
            return None
        exchange = Exchange(*self._idle.popleft())
        exchange.awaited = exchange.target.watchers
        return exchange

    def write(self, exchange: Exchange, serial: bytes, number: int) -> bytes:
        """Its PUBLISH, with a note that no other has."""
        exchange.mark = mark_of(serial)
        target = exchange.target
        return self._templates[target.index].write(serial, number, target.entity_tag)

    def answered(self, exchange: Exchange, response: bytes) -> None:
        """Keep the entity-tag for the next modification (RFC 3903 §4.1)."""
        at = response.find(_ENTITY_TAG) + 12
        if at < 12:
            tag = b"".join(values_of(response, b"SIP-ETag"))
        else:
            tag = response[at : response.find(b"\r\n", at)]
        exchange.target.entity_tag = tag

    def finished(self, exchange: Exchange) -> None:
        """The presentity may publish again."""
        self._idle.append((exchange.account, exchange.target))

    def failed(self, exchange: Exchange, status: bytes) -> None:
        """After 412 the publication is gone: a new one is made (RFC 3903 §4.1)."""
        if status == b"412":
            exchange.target.entity_tag = b""
        self.finished(exchange)


class Subscribe:
    """SUBSCRIBE in new dialogs, spread over all pairs of presentity and watcher."""

    def __init__(
        self,
        dialogs: dict[bytes, Dialog],
        presentities: list[Target],
        watchers: list[Account],
        hosts: Hosts,
        contacts: Hosts,
        transport: bytes = b"UDP",
    ) -> None:
        self._dialogs = dialogs
        self._presentities = presentities
        self._watchers = watchers
        self._templates = {
            watcher.index: SubscribeTemplate(
                watcher, _of(hosts, watcher), _of(contacts, watcher), transport
            )
            for watcher in watchers
        }
        self._count = 0

    def next(self) -> Exchange | None:
        """A pair that has no subscription yet, as long as there is one."""
        presentities, watchers = len(self._presentities), len(self._watchers)
        turn, at = divmod(self._count, presentities)
        # Each presentity begins elsewhere in the list, so that soon all watchers have a nonce.
        watcher = self._watchers[(turn + at * watchers // presentities) % watchers]
        name = b"%08x" % self._count
        self._count += 1
        target = Target(at, self._presentities[at].uri, name)
        self._dialogs[name] = Dialog(target, watcher.index)
        exchange = Exchange(watcher, target)
        exchange.mark = EVERY_NOTIFY
        exchange.awaited = 1
        return exchange

    def write(self, exchange: Exchange, serial: bytes, number: int) -> bytes:
        """Its SUBSCRIBE."""
        target = exchange.target
        template = self._templates[exchange.account.index]
        return template.write(serial, number, target.uri, target.dialog)

    def answered(self, exchange: Exchange, response: bytes) -> None:
        """Nothing is needed from it: the generator sends no second SUBSCRIBE in a dialog."""

    def finished(self, exchange: Exchange) -> None:
        """From now on the dialog's NOTIFYs belong to what the presentity publishes."""
        presentity = self._presentities[exchange.target.index]
        presentity.watchers += 1
        self._dialogs[exchange.target.dialog].target = presentity

    def failed(self, exchange: Exchange, status: bytes) -> None:
        """There is no dialog."""
        self._dialogs.pop(exchange.target.dialog, None)
