"""Documents at an XCAP server, as their owner reads and writes them (RFC 4825)."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from OpenSSL import crypto
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as TookTooLong
from twisted.internet.ssl import Certificate, trustRootFromCertificates
from twisted.web.client import Agent, BrowserLikePolicyForHTTPS, FileBodyProducer
from twisted.web.http_headers import Headers

from simplestack.client.account import Account
from simplestack.client.errors import (
    AuthenticationError,
    ClientError,
    NoAnswerError,
    RefusedError,
)
from simplestack.documents.errors import DocumentError
from simplestack.documents.xcaperror import MEDIA_TYPE as CONFLICT
from simplestack.documents.xcaperror import parse_conflict_report
from simplestack.net.fetch import Collector, FetchError
from simplestack.net.identifiers import RandomIdentifiers
from simplestack.sip.errors import SIPError
from simplestack.sip.fields import Challenge, parse_challenge
from simplestack.transaction.protection import Octets, Protection

__all__ = ["Answer", "Fetched", "XCAPClient"]

#: Octets of a body that we read, and seconds for a whole exchange.
_LARGEST = 4 * 1024 * 1024
_PATIENCE = 30.0
#: How often one request may be sent with other credentials, and one document be edited anew.
_TRIES = 4
_EDITS = 5
#: What stays as it is in a path that a person writes.
_SAFE = ":@!$&'()*+,;=~%"


class Answer(NamedTuple):
    """An HTTP response, read whole."""

    status: int
    reason: str
    headers: Headers
    body: bytes

    @property
    def etag(self) -> str:
        """The entity-tag with its quotes, as If-Match takes it; "" without one."""
        return _text(self.headers, "ETag")


class Fetched(NamedTuple):
    """A document and its entity-tag."""

    body: bytes
    etag: str


class XCAPClient:
    """Reads and writes documents below an XCAP root, such as ``http://127.0.0.1:8080/``.

    ``authorities`` are whom TLS trusts in place of the system's; ``agent`` is any
    ``twisted.web.iweb.IAgent``.  Methods fail with ClientError: RefusedError has the HTTP status.

    Raises ValueError where the root is no http: or https: URL.
    """

    def __init__(
        self,
        reactor: Any,
        account: Account,
        root: str,
        *,
        authorities: Sequence[crypto.X509] | None = None,
        source: Octets | None = None,
        agent: Any = None,
    ) -> None:
        parts = _split(root)
        self.root = root if root.endswith("/") else f"{root}/"
        self._secure = parts[0] == "https"
        self._account = account
        self._protection = Protection(account.user, account.password, source or RandomIdentifiers())
        self._basic = False
        self._reactor = reactor
        if agent is None:
            agent = Agent(reactor, _policy(authorities), connectTimeout=_PATIENCE / 3)
        self._agent = agent

    def document(self, auid: str, name: str = "index") -> str:
        """The URL of a document in the account's home directory (RFC 4825 §6.2)."""
        user = quote(self._account.aor, safe=":@!$&'()*+,;=~")
        return f"{self.root}{auid}/users/{user}/{quote(name, safe='/')}"

    def resource(self, path: str, bindings: Mapping[str, str] | None = None) -> str:
        """The URL of a document or a node of one, as a person writes its path below the root.

        ``AUID/NAME`` is in the account's home directory; a node selector follows after ``~~`` with
        the prefixes of ``bindings`` (RFC 4825 §6.3, §6.4).  What a URI can't have is
        percent-encoded, what is encoded stays so.
        """
        document, separator, node = path.removeprefix(self.root).strip("/").partition("~~")
        segments = document.strip("/").split("/")
        if len(segments) == 2 and segments[1] not in ("users", "global"):
            url = self.document(quote(segments[0], safe=_SAFE), segments[1])
        else:
            url = self.root + quote("/".join(segments), safe=f"/{_SAFE}")
        if separator:
            url += f"/~~/{quote(node.strip('/'), safe=f'/{_SAFE}')}"
        if bindings:
            query = "".join([f"xmlns({prefix}={uri})" for prefix, uri in bindings.items()])
            url += "?" + quote(query, safe="/?:@!$&'()*+,;=~")
        return url

    def get(self, url: str) -> Deferred[Fetched | None]:
        """The document, or the node, None where there is none."""
        return Deferred.fromCoroutine(self._get(url))

    def put(
        self, url: str, body: bytes, content_type: str, *, match: str | None = None
    ) -> Deferred[str]:
        """Write a document; the result is its new entity-tag.

        ``match`` is the entity-tag of the document to replace, "" where there must be none, None
        for whatever is there.  RefusedError has the status 412 where it is another one.
        """
        headers = {"Content-Type": content_type}
        if match is not None:
            # "If-None-Match: *" creates and never replaces (RFC 4825 §7.11, RFC 9110 §13.1.2).
            headers |= {"If-Match": match} if match else {"If-None-Match": "*"}
        return Deferred.fromCoroutine(self._write("PUT", url, headers, body))

    def delete(self, url: str, *, match: str | None = None) -> Deferred[str]:
        """Remove a document; RefusedError has the status 404 where there is none."""
        headers = {"If-Match": match} if match else {}
        return Deferred.fromCoroutine(self._write("DELETE", url, headers, b""))

    def edit(
        self, url: str, content_type: str, change: Callable[[bytes | None], bytes]
    ) -> Deferred[bytes]:
        """Change a document that others may change at the same time; the result is what it is now.

        ``change`` gets the document, None where there is none, and returns the new one.  It is
        called again where somebody else came first.
        """
        return Deferred.fromCoroutine(self._edit(url, content_type, change))

    async def _get(self, url: str) -> Fetched | None:
        answer = await self._exchange("GET", url, {}, b"")
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise _refusal(answer)
        return Fetched(answer.body, answer.etag)

    async def _write(self, method: str, url: str, headers: dict[str, str], body: bytes) -> str:
        answer = await self._exchange(method, url, headers, body)
        if not 200 <= answer.status < 300:
            raise _refusal(answer)
        return answer.etag

    async def _edit(
        self, url: str, content_type: str, change: Callable[[bytes | None], bytes]
    ) -> bytes:
        for remaining in reversed(range(_EDITS)):
            before = await self._get(url)
            body = change(None if before is None else before.body)
            if before is not None and body == before.body:
                return body
            try:
                await self.put(url, body, content_type, match="" if before is None else before.etag)
            except RefusedError as error:
                if error.status != 412 or not remaining:
                    raise
            else:
                return body
        raise ClientError("others changed the document at the same time")

    async def _exchange(
        self, method: str, url: str, headers: dict[str, str], body: bytes
    ) -> Answer:
        """One request, sent again with credentials where it is challenged (RFC 7616)."""
        parts = urlsplit(url)
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        answered: set[str] = set()
        for remaining in reversed(range(_TRIES)):
            credentials = self._credentials(method, target, body)
            answer = await self._send(method, url, headers, credentials, body)
            info = _text(answer.headers, "Authentication-Info")
            if info:
                self._protection.informed(info)
            if answer.status != 401 or not remaining or not self._may_answer(answer, answered):
                break
        return answer

    def _credentials(self, method: str, target: str, body: bytes) -> list[str]:
        if self._basic:
            pair = f"{self._account.user}:{self._account.password}".encode()
            return [f"Basic {b64encode(pair).decode()}"]
        return self._protection.authorization(method, target, body)

    def _may_answer(self, answer: Answer, answered: set[str]) -> bool:
        offers: list[Challenge] = []
        for value in answer.headers.getRawHeaders("WWW-Authenticate", []):
            try:
                offers.append(parse_challenge(value))
            except SIPError:
                continue
        if self._protection.challenged(offers, answered):
            return True
        # A password in the clear is for encrypted connections alone, and for servers that offer
        # nothing better.
        first = not self._basic and not any(offer.scheme == "digest" for offer in offers)
        self._basic = first and self._secure and any(offer.scheme == "basic" for offer in offers)
        return self._basic

    async def _send(
        self, method: str, url: str, headers: dict[str, str], credentials: list[str], body: bytes
    ) -> Answer:
        fields = Headers({name: [value] for name, value in headers.items()})
        fields.addRawHeader("User-Agent", "simplestack")
        for value in credentials:
            fields.addRawHeader("Authorization", value)
        producer = FileBodyProducer(BytesIO(body)) if method == "PUT" else None
        exchange: Deferred[Answer] = Deferred.fromCoroutine(
            self._converse(method.encode(), url.encode(), fields, producer)
        )
        exchange.addTimeout(_PATIENCE, self._reactor)
        try:
            return await exchange
        except ClientError:
            raise
        except Exception as error:
            raise NoAnswerError(f"no answer from {self.root}: {_explain(error)}") from None

    async def _converse(self, method: bytes, url: bytes, fields: Headers, producer: Any) -> Answer:
        response = await self._agent.request(method, url, fields, producer)
        collector = Collector(_LARGEST)
        response.deliverBody(collector)
        try:
            body = await collector.body
        except FetchError as error:
            raise ClientError(f"the answer from {self.root} can't be read: {error}") from None
        phrase = response.phrase.decode("utf-8", "replace")
        return Answer(response.code, phrase, response.headers, body)


def _policy(authorities: Sequence[crypto.X509] | None) -> BrowserLikePolicyForHTTPS:
    if authorities is None:
        return BrowserLikePolicyForHTTPS()
    roots = [Certificate(each) for each in authorities]
    return BrowserLikePolicyForHTTPS(trustRootFromCertificates(roots))


def _split(root: str) -> tuple[str, str]:
    try:
        parts = urlsplit(root)
        host = parts.hostname or ""
        # Reading it checks it.
        _ = parts.port
    except ValueError as error:
        raise ValueError(f"the XCAP root {root!r} is not a URL: {error}") from None
    plain = root.isascii() and root.isprintable() and " " not in root
    if parts.scheme not in ("http", "https") or not host or not plain:
        raise ValueError(
            f"the XCAP root {root!r} is not an http: or https: URL such as http://127.0.0.1:8080/"
        )
    return parts.scheme, host


def _refusal(answer: Answer) -> RefusedError:
    retry_after = _text(answer.headers, "Retry-After")
    kind = AuthenticationError if answer.status == 401 else RefusedError
    return kind(
        answer.status,
        answer.reason,
        _detail(answer),
        int(retry_after) if retry_after.isdecimal() else None,
    )


def _detail(answer: Answer) -> str:
    """What the server says of an error, in one line."""
    media_type = _text(answer.headers, "Content-Type").partition(";")[0].strip().lower()
    if media_type == CONFLICT:
        try:
            report = parse_conflict_report(answer.body)
        except DocumentError:
            return ""
        return f"{report.condition}: {report.phrase}" if report.phrase else report.condition
    if media_type == "text/plain":
        return " ".join(answer.body[:500].decode("utf-8", "replace").split())
    return ""


def _text(headers: Headers, name: str) -> str:
    values = headers.getRawHeaders(name, [])
    return values[0] if values else ""


def _explain(error: BaseException) -> str:
    """What an exception of Twisted's web client is about."""
    if isinstance(error, TookTooLong):
        return f"nothing in {_PATIENCE:.0f} s"
    reasons = getattr(error, "reasons", None)
    if reasons:
        # ResponseFailed and its kin wrap what happened.
        return _explain(reasons[0].value)
    if error.args and isinstance(error.args[0], list) and error.args[0]:
        # OpenSSL's errors are lists of triples.
        return ", ".join(str(entry[-1]) for entry in error.args[0])
    return " ".join(str(error).split()) or type(error).__name__
