"""Presence rules, put through XCAP before a run, so that watchers may watch."""

import http.client
from collections.abc import Callable
from urllib.parse import urlsplit

from simplestack.stone.configuration import Configuration
from simplestack.stone.credentials import Credentials
from simplestack.stone.errors import StoneError

__all__ = ["put_rules", "rules_document"]

_TYPE = "application/auth-policy+xml"


def rules_document(domain: str) -> bytes:
    """A presence rules document (RFC 5025) that lets the domain see all, and blocks one user."""
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<ruleset xmlns="urn:ietf:params:xml:ns:common-policy"
         xmlns:pr="urn:ietf:params:xml:ns:pres-rules">
  <rule id="colleagues">
    <conditions><identity><many domain="{domain}"/></identity></conditions>
    <actions><pr:sub-handling>allow</pr:sub-handling></actions>
    <transformations>
      <pr:provide-services><pr:all-services/></pr:provide-services>
      <pr:provide-persons><pr:all-persons/></pr:provide-persons>
      <pr:provide-devices><pr:all-devices/></pr:provide-devices>
      <pr:provide-all-attributes/>
    </transformations>
  </rule>
  <rule id="stranger">
    <conditions><identity><one id="sip:stranger@elsewhere.example"/></identity></conditions>
    <actions><pr:sub-handling>block</pr:sub-handling></actions>
  </rule>
</ruleset>
""".encode()


def put_rules(
    configuration: Configuration, told: Callable[[int], None] = lambda count: None
) -> None:
    """PUT the rules of every presentity (RFC 5025 §9.5).  Raises StoneError."""
    server, users = configuration.server, configuration.users
    root = urlsplit(server.xcap)
    assert root.hostname is not None
    kind = http.client.HTTPSConnection if root.scheme == "https" else http.client.HTTPConnection
    connection = kind(root.hostname, root.port, timeout=10)
    body = rules_document(server.domain)
    try:
        for index in range(configuration.load.presentities):
            number = users.first + index
            # A nonce of HTTP is another than that of SIP.
            credentials = Credentials(
                users.user.format(number),
                users.password.format(number),
                users.algorithm,
                users.digest,
            )
            aor = f"sip:{credentials.username}@{server.domain}"
            path = f"{root.path.rstrip('/')}/pres-rules/users/{aor}/index"
            _put(connection, path, body, credentials)
            told(index + 1)
    except (OSError, http.client.HTTPException) as error:
        raise StoneError(f"server.xcap: {server.xcap}: {error}") from None
    finally:
        connection.close()


def _put(
    connection: http.client.HTTPConnection, path: str, body: bytes, credentials: Credentials
) -> None:
    for attempt in (1, 2):
        headers = {"Content-Type": _TYPE}
        line = credentials.line(b"PUT", path.encode()).decode()
        if line:
            name, _, value = line.strip().partition(": ")
            headers[name] = value
        connection.request("PUT", path, body, headers)
        response = connection.getresponse()
        said = response.read()
        if response.status in (200, 201, 204):
            return
        if response.status != 401 or attempt == 2 or not credentials.answers:
            text = said[:200].decode("utf-8", "replace").strip()
            raise StoneError(f"PUT {path} was answered {response.status}: {text}")
        challenges = response.headers.get_all("WWW-Authenticate") or []
        credentials.challenged(
            "".join(
                [
                    "HTTP/1.1 401 \r\n",
                    *(f"WWW-Authenticate: {each}\r\n" for each in challenges),
                    "\r\n",
                ]
            ).encode()
        )
