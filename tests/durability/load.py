"""Users who register, publish, subscribe and write documents all the time, and remember what they
were promised: what a response of the server has acknowledged.
"""

import http.client
import select
import socket
import time
from collections.abc import Callable
from itertools import count
from random import Random
from threading import Thread

from simplestack.sip.message import Request, Response, parse_message
from tests.bench.account import Account
from tests.peers.allowing import put_document
from tests.peers.probe import Dialog, pidf, written
from tests.peers.running import DOMAIN, Running

__all__ = ["Load", "User"]

#: Seconds that an answer may take.
PATIENCE = 15.0
#: Contacts and dialogs of one user.
_CONTACTS, _DIALOGS = 5, 4

_serial = count(1)
Done = Callable[[Response], None]


class User:
    """One user, and what he was promised."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.aor = f"sip:{name}@{DOMAIN}"
        self.account = Account(0, name, DOMAIN, f"{name}-secret")
        #: Contact URI → whether it is registered.
        self.contacts: dict[str, bool] = {}
        self.registration = Dialog(self.aor, f"r{next(_serial)}", f"<{self.aor}>;tag=r")
        #: The entity-tag of the publication, and its note.
        self.entity_tag = ""
        self.note = ""
        #: The subscriptions, and by which package.
        self.dialogs: list[tuple[Dialog, str]] = []
        #: The user's resource-lists document.
        self.document = b""
        #: What is asked for and not answered, by its kind: register, publish, subscribe, document.
        self.asking = ""
        #: What an unanswered request may have made true.
        self.perhaps: set[str] = set()

    def apart(self) -> Dialog:
        """Identifiers for a request that belongs to no other."""
        return Dialog(self.aor, f"a{next(_serial)}", f"<{self.aor}>;tag=a")


class Load:
    """The users, on one UDP socket that outlives the server."""

    def __init__(self, server: Running, names: list[str], random: Random) -> None:
        self._server = server
        self._random = random
        self.users = [User(name) for name in names]
        self._socket = socket.socket(type=socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self._socket.bind(("127.0.0.1", 0))
        self._place = "{}:{}".format(*self._socket.getsockname())
        self._waiting: dict[str, Done] = {}
        self._dialogs: dict[str, Dialog] = {}
        self._statuses: dict[int, int] = {}
        self._writer: Thread | None = None
        #: How many documents were written.
        self.documents = 0
        #: The document that is being written.
        self.writing: tuple[User, bytes] | None = None

    def close(self) -> None:
        """Let the socket go."""
        self._socket.close()

    @property
    def refused(self) -> dict[int, int]:
        """How many requests got which status that is no success."""
        return {status: n for status, n in self._statuses.items() if status // 100 != 2}

    @property
    def acknowledged(self) -> int:
        """How many requests succeeded."""
        return sum(n for status, n in self._statuses.items() if status // 100 == 2)

    # Requests

    def start(
        self,
        user: User,
        method: str,
        uri: str,
        dialog: Dialog,
        fields: tuple[tuple[str, str], ...],
        body: bytes,
        done: Done,
        tries: int = 3,
    ) -> None:
        """Send a request; ``done`` is given its final response."""
        branch = f"z9hG4bKl{next(_serial)}"
        via = f"SIP/2.0/UDP {self._place};branch={branch};rport"

        def answered(response: Response) -> None:
            if response.status == 401 and tries:
                user.account.challenged(response.headers["WWW-Authenticate"])
                self.start(user, method, uri, dialog, fields, body, done, tries - 1)
            else:
                self._statuses[response.status] = self._statuses.get(response.status, 0) + 1
                done(response)

        self._waiting[branch] = answered
        request = written(user.account, method, uri, dialog, via, fields, body)
        self._socket.sendto(request.to_bytes(), ("127.0.0.1", self._server.port))

    def ask(
        self,
        user: User,
        method: str,
        uri: str,
        dialog: Dialog,
        *fields: tuple[str, str],
        body: bytes = b"",
    ) -> Response:
        """Send a request and wait for its final response."""
        answers: list[Response] = []
        self.start(user, method, uri, dialog, fields, body, answers.append)
        if not self.pump(PATIENCE, lambda: bool(answers)):
            raise AssertionError(f"no answer to {method} of {user.aor}")
        return answers[0]

    def pump(self, patience: float, done: Callable[[], bool]) -> bool:
        """Take what comes until something is so; whether it is."""
        end = time.monotonic() + patience
        while not done():
            left = end - time.monotonic()
            if left <= 0:
                return False
            if select.select([self._socket], [], [], left)[0]:
                data, source = self._socket.recvfrom(65536)
                message = parse_message(data)
                if isinstance(message, Request):
                    self._notified(message, source)
                elif message.status >= 200:
                    answered = self._waiting.pop(message.top_via.branch or "", None)
                    if answered is not None:
                        answered(message)
        return True

    def _notified(self, request: Request, source: tuple[str, int]) -> None:
        dialog = self._dialogs.get(request.get("Call-ID") or "")
        if dialog is None:
            response = request.response(481)
        else:
            response = request.response(200)
            if request.cseq.number not in dialog.cseqs:
                dialog.notified.append(request)
                dialog.times.append(time.monotonic())
        self._socket.sendto(response.to_bytes(), source)

    # What the users do

    def run(self, seconds: float) -> None:
        """Keep all users busy for a while; what is unanswered then stays so."""
        if self._writer is not None:
            self._writer.join(PATIENCE)
        end = time.monotonic() + seconds
        self._writer = Thread(target=self._write_documents, args=(end,))
        self._writer.start()
        while time.monotonic() < end:
            for user in self.users:
                if not user.asking:
                    self._act(user)
            self.pump(0.005, lambda: False)

    def settle(self) -> None:
        """Forget the unanswered requests of a server that was killed: they may be true or not."""
        if self._writer is not None:
            self._writer.join(PATIENCE)
        self.pump(0.2, lambda: False)
        self._waiting.clear()

    def _act(self, user: User) -> None:
        acts = [self._register, self._register, self._publish, self._publish, self._subscribe]
        self._random.choice(acts)(user)

    def _register(self, user: User) -> None:
        uri = f"sip:{user.name}-{self._random.randrange(_CONTACTS)}@{self._place}"
        removed = user.contacts.get(uri, False) and self._random.random() < 0.3
        user.asking, user.perhaps = "register", {uri}

        def done(response: Response) -> None:
            user.asking = ""
            if response.status == 200:
                user.contacts[uri] = not removed

        contact = f"<{uri}>;expires={0 if removed else 600}"
        self.start(
            user,
            "REGISTER",
            f"sip:{DOMAIN}",
            user.registration,
            (("Contact", contact),),
            b"",
            done,
        )

    def _publish(self, user: User) -> None:
        note = f"note {next(_serial)}"
        fields = [("Event", "presence"), ("Content-Type", "application/pidf+xml")]
        if user.entity_tag:
            fields.append(("SIP-If-Match", user.entity_tag))
        user.asking, user.perhaps = "publish", {note}

        def done(response: Response) -> None:
            user.asking = ""
            if response.status == 200:
                user.entity_tag, user.note = response.get("SIP-ETag") or "", note

        body = pidf(user.aor, "open", note)
        self.start(user, "PUBLISH", user.aor, user.apart(), tuple(fields), body, done)

    def _subscribe(self, user: User) -> None:
        if len(user.dialogs) >= _DIALOGS:
            self._refresh(user, *self._random.choice(user.dialogs))
            return
        package = ("presence", "presence", "reg", "presence.winfo")[len(user.dialogs)]
        target = user.aor if package != "presence" else self._random.choice(self.users).aor
        dialog = Dialog(target, f"s{next(_serial)}.{self._place}", f"<{user.aor}>;tag=s")
        self._dialogs[dialog.call_id] = dialog
        self._refresh(user, dialog, package)

    def _refresh(self, user: User, dialog: Dialog, package: str) -> None:
        user.asking, user.perhaps = "subscribe", {dialog.call_id}

        def done(response: Response) -> None:
            user.asking = ""
            if response.status == 200 and dialog.contact == dialog.target:
                dialog.remote = response.get("To") or ""
                dialog.contact = str(response.contacts[0].uri)
                user.dialogs.append((dialog, package))

        self.start(
            user, "SUBSCRIBE", dialog.contact, dialog, self.subscription(user, package), b"", done
        )

    def subscription(self, user: User, package: str) -> tuple[tuple[str, str], ...]:
        """The header fields of a SUBSCRIBE."""
        contact = f"<sip:{user.name}@{self._place}>"
        return (("Contact", contact), ("Event", package), ("Expires", "600"))

    def _write_documents(self, end: float) -> None:
        """One document after another, in a thread since HTTP waits."""
        while time.monotonic() < end:
            user = self._random.choice(self.users)
            name = f"list {next(_serial)}"
            body = (
                '<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists">'
                f'<list name="{name}"/></resource-lists>'
            ).encode()
            self.writing = (user, body)
            try:
                status = put_document(self._server, user.name, "resource-lists", body)
            except (OSError, http.client.HTTPException):
                return
            if status in (200, 201):
                user.document = body
                self.documents += 1
            self.writing = None
