"""Lets a watcher see a user's presence, as the user's client does: through XCAP."""

import http.client

from tests.bench.account import Account
from tests.peers.running import DOMAIN, Running

__all__ = ["allow", "get_document", "put_document", "rules"]

_TYPES = {
    "pres-rules": "application/auth-policy+xml",
    "resource-lists": "application/resource-lists+xml",
}


def rules(*watchers: str) -> bytes:
    """A presence rules document (RFC 5025) that shows these users everything."""
    ones = "".join(f'<one id="sip:{watcher}@{DOMAIN}"/>' for watcher in watchers)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<ruleset xmlns="urn:ietf:params:xml:ns:common-policy"'
        ' xmlns:pr="urn:ietf:params:xml:ns:pres-rules"><rule id="friends">'
        f"<conditions><identity>{ones}</identity></conditions>"
        "<actions><pr:sub-handling>allow</pr:sub-handling></actions>"
        "<transformations><pr:provide-services><pr:all-services/></pr:provide-services>"
        "<pr:provide-persons><pr:all-persons/></pr:provide-persons>"
        "<pr:provide-devices><pr:all-devices/></pr:provide-devices>"
        "<pr:provide-all-attributes/></transformations></rule></ruleset>"
    ).encode()


def _exchange(
    server: Running, user: str, method: str, auid: str, body: bytes = b""
) -> tuple[int, bytes]:
    path = f"/{auid}/users/sip:{user}@{DOMAIN}/index"
    account = Account(0, user, DOMAIN, f"{user}-secret")
    connection = http.client.HTTPConnection("127.0.0.1", server.xcap_port, timeout=10)
    try:
        while True:
            headers = {"Content-Type": _TYPES[auid]} if body else {}
            credentials = account.credentials(method.encode(), path.encode())
            if credentials:
                headers["Authorization"] = credentials.decode()
            connection.request(method, path, body or None, headers)
            response = connection.getresponse()
            said = response.read()
            if response.status != 401 or credentials:
                return response.status, said
            account.challenged(response.headers.get_all("WWW-Authenticate") or [])
    finally:
        connection.close()


def put_document(server: Running, user: str, auid: str, body: bytes) -> int:
    """Write the user's document ``index`` of an application usage; the status."""
    return _exchange(server, user, "PUT", auid, body)[0]


def get_document(server: Running, user: str, auid: str) -> tuple[int, bytes]:
    """Read it; the status, and the document."""
    return _exchange(server, user, "GET", auid)


def allow(server: Running, user: str, *watchers: str) -> None:
    """Let these watchers see the user's presence."""
    status, said = _exchange(server, user, "PUT", "pres-rules", rules(*watchers))
    assert status in (200, 201), (status, said)
