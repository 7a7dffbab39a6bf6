"""Runs call flows that are written as scripts, against the whole service.

A script has one step a line; what is indented below a step belongs to it.  ``#`` begins a comment.
The steps are those of ``_STEPS``; ``docs/architecture/testing.md`` describes them for people.
"""

import re
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import NamedTuple

from lxml import etree
from twisted.internet.task import Clock

from simplestack.app.plugins import make_roles
from simplestack.app.settings import Settings
from simplestack.sip.headers import canonical
from simplestack.sip.message import Request, Response
from tests.app.world import NoAnswer, Phone, World
from tests.app.xcapworld import Answer, Client

__all__ = ["ScenarioError", "Step", "read", "run", "run_file"]

#: What XPath expressions in scripts may use.
NAMESPACES = {
    "p": "urn:ietf:params:xml:ns:pidf",
    "dm": "urn:ietf:params:xml:ns:pidf:data-model",
    "r": "urn:ietf:params:xml:ns:pidf:rpid",
    "w": "urn:ietf:params:xml:ns:watcherinfo",
    "reg": "urn:ietf:params:xml:ns:reginfo",
    "d": "urn:ietf:params:xml:ns:xcap-diff",
    "rl": "urn:ietf:params:xml:ns:resource-lists",
    "rls": "urn:ietf:params:xml:ns:rls-services",
}
_UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
_PARSER = etree.XMLParser(resolve_entities=False, no_network=True)


class ScenarioError(AssertionError):
    """A step that did not go as the script says."""


class Step(NamedTuple):
    """One step of a script."""

    line: int
    text: str
    #: The lines below it, without their common indentation.
    block: str


def read(text: str) -> list[Step]:
    """The steps of a script."""
    steps: list[Step] = []
    block: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("#"):
            continue
        if line[:1] in (" ", "\t", ""):
            block.append(line)
            continue
        if steps:
            steps[-1] = steps[-1]._replace(block=dedent("\n".join(block)).strip("\n"))
        block = []
        steps.append(Step(number, line.strip(), ""))
    if steps:
        steps[-1] = steps[-1]._replace(block=dedent("\n".join(block)).strip("\n"))
    return steps


def run(text: str, name: str = "script") -> World:
    """Run a script; the world as it is at its end.

    Raises ScenarioError where something else happens than the script says, and where something
    happens that it does not say.
    """
    scenario = _Scenario()
    for step in read(text):
        try:
            scenario.take(step)
        except ScenarioError as error:
            raise ScenarioError(f"{name}:{step.line}: {step.text}\n{error}") from None
    try:
        scenario.expect_quiet()
    except ScenarioError as error:
        raise ScenarioError(f"{name}: at its end\n{error}") from None
    return scenario.world


def run_file(path: Path) -> World:
    """Run the script in a file."""
    return run(path.read_text("utf-8"), path.name)


class _Dialog:
    """What requests of a phone with the same label share."""

    def __init__(self) -> None:
        self.call_id = ""
        self.from_tag = ""
        self.to = ""
        self.target = ""


class _Scenario:
    def __init__(self) -> None:
        self._users: list[str] = []
        self._settings: dict[str, object] = {}
        self._world: World | None = None
        self._phones: dict[str, Phone] = {}
        #: Phones that are made with the world.
        self._pending: list[tuple[str, str, str, dict[str, str]]] = []
        self._values: dict[str, str] = {}
        self._dialogs: dict[tuple[str, str], _Dialog] = {}
        #: The dialog of the request whose answer a phone waits for.
        self._asked: dict[str, _Dialog] = {}

    @property
    def world(self) -> World:
        """The world, which is made when it is first needed."""
        if self._world is None:
            domains = tuple(dict.fromkeys(user.partition("@")[2] for user in self._users))
            settings = Settings(**{"domains": domains, "notify_interval": 0, **self._settings})  # type: ignore[arg-type]  # Settings checks its values itself
            self._world = World(self._users, settings=settings)
        return self._world

    def take(self, step: Step) -> None:
        """Do, or expect, what a step says."""
        for pattern, act in _STEPS:
            match = pattern.fullmatch(step.text)
            if match is not None:
                act(self, step, *[group or "" for group in match.groups()])
                return
        raise ScenarioError("there is no such step")

    def expect_quiet(self) -> None:
        """All that was sent has been expected."""
        if self._world is None:
            return
        self.world.run(0.0)
        for name, phone in self._phones.items():
            if phone.inbox:
                raise ScenarioError(f"{name} got what no step expects:\n{_show(phone.inbox[0])}")

    # What the world is

    def setting(self, step: Step, name: str, value: str) -> None:
        """Setting NAME = VALUE"""
        self._settings[name] = int(value) if value.isdecimal() else value
        if "," in value:
            self._settings[name] = tuple(value.replace(" ", "").strip(",").split(","))

    def user(self, step: Step, user: str) -> None:
        """User USER@DOMAIN"""
        self._users.append(user)

    def phone(self, step: Step, name: str, user: str, transport: str, password: str) -> None:
        """Phone NAME of USER@DOMAIN over TRANSPORT with password PASSWORD"""
        if user not in self._users:
            self._users.append(user)
        more = {"password": password} if password else {}
        if self._world is not None:
            raise ScenarioError("phones come before everything else")
        self._pending.append((name, user, transport or "udp", more))

    def server(self, step: Step, name: str, user: str) -> None:
        """Server NAME of USER@DOMAIN"""
        if self._world is not None:
            raise ScenarioError("servers come before everything else")
        self._pending.append((name, user, "udp", {"host": user.rpartition("@")[2]}))

    # What phones do

    def _phone(self, name: str) -> Phone:
        for each, user, transport, more in self._pending:
            self._phones[each] = self.world.phone(user, transport, each, **more)
            self._values[f"{each}.contact"] = self._phones[each].contact.strip("<>")
        self._pending.clear()
        if name not in self._phones:
            raise ScenarioError(f"there is no phone {name}")
        return self._phones[name]

    def sends(self, step: Step, name: str, label: str, plainly: str) -> None:
        """NAME sends LABEL without credentials:"""
        phone = self._phone(name)
        self.expect_quiet()
        head, _, body = step.block.partition("\n\n")
        start, *lines = self._filled(head).splitlines()
        method, _, uri = start.partition(" ")
        headers: dict[str, list[str]] = {}
        for line in lines:
            field, _, value = line.partition(":")
            headers.setdefault(canonical(field.strip()), []).append(value.strip())
        if headers.get("Content-Type", [""])[0].startswith("multipart/"):
            # Boundaries stand between the line ends of MIME (RFC 2046 §5.1.1).
            body = body.replace("\n", "\r\n")
        key = label or f"{method} {headers.get('Event', [''])[0].partition(';')[0]}"
        dialog = self._dialogs.get((name, key))
        if dialog is None or (method == "SUBSCRIBE" and uri and not label):
            dialog = self._dialogs[name, key] = _Dialog()
        request = phone.request(
            method, uri or dialog.target, headers, self._filled(body).encode("utf-8")
        )
        if dialog.call_id:
            if "Call-ID" not in headers:
                request.set("Call-ID", dialog.call_id)
            if "From" not in headers:
                request.set("From", f"<{phone.aor}>;tag={dialog.from_tag}")
        if dialog.to and not uri and "To" not in headers:
            request.set("To", dialog.to)
        dialog.call_id = request.call_id
        dialog.from_tag = request.from_.tag or ""
        self._asked[name] = dialog
        phone.send(request, secret=not plainly)

    def answers_next(self, step: Step, name: str, count: str, status: str) -> None:
        """NAME answers the next COUNT NOTIFY: STATUS"""
        headers: dict[str, list[str]] = {}
        for line in step.block.splitlines():
            field, _, value = line.partition(":")
            headers[canonical(field.strip())] = [value.strip()]
        for _ in range(int(count or "1")):
            self._phone(name).replies.append((int(status), headers))

    def ignores_next(self, step: Step, name: str, count: str) -> None:
        """NAME ignores the next COUNT NOTIFY"""
        self._phone(name).replies.extend([(0, {})] * int(count or "1"))

    # What is expected

    def _next(self, name: str) -> Request | Response | NoAnswer:
        phone = self._phone(name)
        self.world.run(0.0)
        if not phone.inbox:
            raise ScenarioError(f"{name} got nothing")
        return phone.inbox.popleft()

    def answered(self, step: Step, name: str, status: str) -> None:
        """Server answers NAME: STATUS"""
        message = self._next(name)
        if not isinstance(message, Response):
            raise ScenarioError(f"a response was expected; it was\n{_show(message)}")
        if message.status != int(status):
            raise ScenarioError(f"the answer is\n{_show(message)}")
        dialog = self._asked[name]
        if message.status < 300 and message.cseq.method == "SUBSCRIBE":
            dialog.to = message.headers["To"][0]
            dialog.target = str(message.contacts[0].uri)
        self._compare(step.block, message)

    def unanswered(self, step: Step, name: str) -> None:
        """NAME gets no answer"""
        message = self._next(name)
        if not isinstance(message, NoAnswer):
            raise ScenarioError(f"an answer came:\n{_show(message)}")

    def receives(self, step: Step, name: str, method: str) -> None:
        """NAME receives METHOD"""
        message = self._next(name)
        if not isinstance(message, Request) or message.method != method:
            raise ScenarioError(f"a {method} was expected; it was\n{_show(message)}")
        self._compare(step.block, message)

    def _compare(self, block: str, message: Request | Response) -> None:
        tree = None
        for line in block.splitlines():
            if not line.strip():
                continue
            expression, found, value = line.partition(" == ")
            if found:
                if tree is None:
                    tree = etree.fromstring(message.body, _PARSER)
                result = tree.xpath(expression.strip(), namespaces=NAMESPACES)
                self._match(expression, value.strip(), _text(result), message)
                continue
            if line.startswith("no "):
                what = line[3:].strip()
                there = message.body if what == "body" else message.get(canonical(what))
                if there:
                    raise ScenarioError(f"{line}, but:\n{_show(message)}")
                continue
            field, _, value = line.partition(":")
            if field == "body":
                self._match(field, value.strip(), message.body.decode("utf-8"), message)
                continue
            values = message.headers.get(canonical(field.strip()))
            if values is None:
                raise ScenarioError(f"there is no {field}:\n{_show(message)}")
            self._match(field, value.strip(), ", ".join(values), message)

    def _match(
        self, what: str, pattern: str, value: str, message: Request | Response | Answer
    ) -> None:
        """Compare with a pattern in which ``*`` is anything, and ``{name}`` what it was before.

        A name that is used for the first time takes the value.
        """
        names: list[str] = []
        expression = ""
        for part in re.split(r"(\*|\{[\w.]+\})", pattern):
            if part == "*":
                expression += ".*"
            elif part[:1] == "{" and part[1:-1] not in self._values and part[1:-1] not in names:
                names.append(part[1:-1])
                expression += "(.+)"
            elif part[:1] == "{":
                expression += re.escape(self._values[part[1:-1]])
            else:
                expression += re.escape(part)
        match = re.fullmatch(expression, value, re.DOTALL)
        if match is None:
            raise ScenarioError(
                f"{what.strip()} is {value!r} and not {self._filled(pattern)!r} in\n{_show(message)}"
            )
        self._values.update(zip(names, match.groups(), strict=True))

    def _filled(self, text: str) -> str:
        def value(match: re.Match[str]) -> str:
            return self._values.get(match[1], match[0])

        return re.sub(r"\{([\w.]+)\}", value, text)

    def quiet(self, step: Step) -> None:
        """Nothing is sent"""
        self.expect_quiet()

    # Time and trouble

    def time_passes(self, step: Step, number: str, unit: str) -> None:
        """Time passes: NUMBER UNIT"""
        self.expect_quiet()
        self.world.run(float(number) * _UNITS[unit])

    def loses(self, step: Step, count: str, direction: str, name: str) -> None:
        """Network loses the next COUNT messages to|from NAME"""
        phone = self._phone(name)
        phone.link.losing[direction == "from"] += int(count or "1")

    def cut(self, step: Step, name: str) -> None:
        """Network is cut to NAME"""
        self._phone(name).link.cut = True
        if self._phone(name).transport != "udp":
            self._phone(name).link.close()

    def heal(self, step: Step, name: str) -> None:
        """Network works again to NAME"""
        self._phone(name).link.cut = False

    def connection_ends(self, step: Step, name: str) -> None:
        """Connection of NAME ends"""
        self._phone(name).link.close()

    def restarts(self, step: Step, roles: str) -> None:
        """Service restarts with roles ROLES"""
        self.expect_quiet()
        settings = self.world.settings
        if roles:
            settings = settings.replace(roles=tuple(roles.split(",")))
        self.world.restart(make_roles(settings))

    def database_lost(self, step: Step) -> None:
        """Database is lost"""
        self.expect_quiet()
        self.world.store.available = False

    def database_back(self, step: Step) -> None:
        """Database is back"""
        self.world.store.available = True

    def stores_rules(self, step: Step, name: str) -> None:
        """NAME stores pres-rules:"""
        phone = self._phone(name)
        self.expect_quiet()
        rules = dict[str, list[str]]()
        for line in step.block.splitlines():
            who, _, handling = line.rpartition(":")
            rules.setdefault(handling.strip(), []).append(who.strip())
        self.world.store_rules(phone.aor, rules)

    # Documents by XCAP

    def puts(self, step: Step, name: str, path: str, media_type: str, status: str) -> None:
        """NAME puts PATH as TYPE: STATUS"""
        self._xcap(name, "PUT", path, status, step.block.encode("utf-8"), media_type)

    def deletes(self, step: Step, name: str, path: str, status: str) -> None:
        """NAME deletes PATH: STATUS"""
        self._xcap(name, "DELETE", path, status)

    def _xcap(
        self, name: str, method: str, path: str, status: str, body: bytes = b"", what: str = ""
    ) -> None:
        phone = self._phone(name)
        self.expect_quiet()
        service = self.world.core.xcap
        if service is None:
            raise ScenarioError("the service has no XCAP")
        client = Client(service.make_site(Clock()), phone.user, phone.password)
        answer = client(method, f"/{path}", body, what)
        status, _, pattern = status.partition(" ")
        if answer.status != int(status):
            raise ScenarioError(f"the answer is {answer.status}:\n{answer.body.decode()}")
        if pattern:
            self._match("ETag", pattern, answer.header("ETag").strip('"'), answer)


def _text(result: object) -> str:
    if isinstance(result, list):
        return ", ".join(
            (each.text or "").strip() if isinstance(each, etree._Element) else str(each)
            for each in result
        )
    if isinstance(result, float) and result.is_integer():
        return str(int(result))
    return str(result)


def _show(message: Request | Response | NoAnswer | Answer) -> str:
    if isinstance(message, (NoAnswer, Answer)):
        return repr(message)
    text = message.to_bytes().decode("utf-8", "replace").replace("\r\n", "\n")
    return "\n".join(f"    {line}" for line in text.splitlines())


_STEPS: list[tuple[re.Pattern[str], Callable[..., None]]] = [
    (re.compile(pattern), act)
    for pattern, act in (
        (r"setting (\w+) = (.+)", _Scenario.setting),
        (r"user (\S+@\S+)", _Scenario.user),
        (
            r"phone (\w+) of (\S+@\S+)(?: over (udp|tcp|tls))?(?: with password (.+))?",
            _Scenario.phone,
        ),
        (r"server (\w+) of (\S+@\S+)", _Scenario.server),
        (r"(\w+) sends(?: \((\w+)\))?( without credentials)?:", _Scenario.sends),
        (r"server answers (\w+): (\d{3})", _Scenario.answered),
        (r"(\w+) gets no answer", _Scenario.unanswered),
        (r"(\w+) receives ([A-Z]+):?", _Scenario.receives),
        (r"(\w+) answers the next (\d+ )?(?:NOTIFY|SUBSCRIBE): (\d{3})", _Scenario.answers_next),
        (r"(\w+) ignores the next (\d+ )?NOTIFY", _Scenario.ignores_next),
        (r"nothing is sent", _Scenario.quiet),
        (r"time passes: ([\d.]+) (second|minute|hour|day)s?", _Scenario.time_passes),
        (
            r"network loses the next (\d+ )?messages? (to|from) (\w+)",
            _Scenario.loses,
        ),
        (r"network is cut to (\w+)", _Scenario.cut),
        (r"network works again to (\w+)", _Scenario.heal),
        (r"connection of (\w+) ends", _Scenario.connection_ends),
        (r"service restarts(?: with roles (\S+))?", _Scenario.restarts),
        (r"database is lost", _Scenario.database_lost),
        (r"database is back", _Scenario.database_back),
        (r"(\w+) stores pres-rules:", _Scenario.stores_rules),
        (r"(\w+) puts (\S+) as (\S+): (\d{3}(?: \S+)?)", _Scenario.puts),
        (r"(\w+) deletes (\S+): (\d{3})", _Scenario.deletes),
    )
]
