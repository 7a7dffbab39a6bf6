"""A server of another domain, as lists meet it: a notifier of one user (RFC 6665 §4.2)."""

from itertools import count

from simplestack.sip.message import Request
from simplestack.transaction.server import ServerTransaction
from tests.app.listworld import pidf
from tests.app.phone import Phone
from tests.app.world import World

__all__ = ["Elsewhere"]


class Elsewhere(Phone):
    """Accepts SUBSCRIBE, or refuses it, and tells its subscribers what ``become`` says."""

    def __init__(self, world: World, user: str = "zoe", domain: str = "remote.example") -> None:
        super().__init__(world, user, domain)
        world.phones.append(self)
        self.aor = f"sip:{user}@{self.address[0]}"
        #: active, pending, or the status by which SUBSCRIBE is refused; 0 does not answer.
        self.state: str | int = "active"
        self.note = "from elsewhere"
        #: The first SUBSCRIBE of each dialog by its Call-ID, our tag, and what numbers NOTIFYs.
        self._dialogs: dict[str, tuple[Request, str, count[int]]] = {}
        self._tags = count(1)

    def become(self, state: str | int, note: str = "") -> None:
        """Have another state, and tell it; who is refused from now on is told that it ends."""
        self.state, self.note = state, note
        for call_id in list(self._dialogs):
            if state == 0:
                continue
            if isinstance(state, int):
                reason = "noresource" if state == 404 else "rejected" if state == 403 else "giveup"
                self._notify(call_id, f"terminated;reason={reason}")
                del self._dialogs[call_id]
            else:
                self._tell(call_id)

    def end(self, reason: str) -> None:
        """End all subscriptions for a reason after which they are made anew (RFC 6665 §4.1.3)."""
        for call_id in list(self._dialogs):
            self._notify(call_id, f"terminated;reason={reason}")
            del self._dialogs[call_id]

    def _deliver(self, request: Request, transaction: ServerTransaction | None, now: float) -> None:
        if request.method != "SUBSCRIBE" or transaction is None:
            super()._deliver(request, transaction, now)
            return
        call_id = request.call_id
        if self.state == 0:
            return
        status = self.state if isinstance(self.state, int) else 200
        if request.to.tag:
            status = 200 if call_id in self._dialogs else 481
        elif status == 200:
            self._dialogs[call_id] = (request, f"e{next(self._tags)}", count(1))
        headers = {"Contact": [self.contact], "Expires": [request.get("Expires") or "3600"]}
        if status == 200:
            headers["To"] = [f"<{self.aor}>;tag={self._dialogs[call_id][1]}"]
        response = request.response(status)
        response.headers.update(headers)
        transaction.respond(response, now)
        if status == 200:
            if request.get("Expires") == "0":
                self._notify(call_id, "terminated;reason=timeout")
                del self._dialogs[call_id]
            else:
                self._tell(call_id)

    def _tell(self, call_id: str) -> None:
        body = pidf(self.user, self.note) if self.state == "active" else b""
        self._notify(call_id, f"{self.state};expires=3600", body)

    def _notify(self, call_id: str, state: str, body: bytes = b"") -> None:
        subscribe, tag, numbers = self._dialogs[call_id]
        headers = {
            "From": [f"<{self.aor}>;tag={tag}"],
            "To": subscribe.headers["From"],
            "Call-ID": [call_id],
            "CSeq": [f"{next(numbers)} NOTIFY"],
            "Event": ["presence"],
            "Subscription-State": [state],
            "Contact": [self.contact],
        }
        if body:
            headers["Content-Type"] = ["application/pidf+xml"]
        uri = str(subscribe.contacts[0].uri)
        self.send(self.request("NOTIFY", uri, headers, body), secret=False)
