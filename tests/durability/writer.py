"""A writer of XCAP in a process of its own: adds entries to a list that others add to as well.

``python -m tests.durability.writer PORT USER PASSWORD NAME COUNT`` reads the document, puts it with
one entry more under If-Match, and begins anew where somebody else was quicker.  It prints how often
that was.
"""

import sys

from tests.bench.account import Account
from tests.bench.xcap import Client, Requests

__all__ = ["EMPTY", "PATH", "main"]

PATH = b"/resource-lists/users/%b/index"
EMPTY = (
    b'<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"><list></list></resource-lists>'
)


class _Any(Requests):
    content_type = b"application/resource-lists+xml"
    statuses = (200, 201, 412)

    def __init__(self, method: bytes, body: bytes = b"", match: bytes = b"") -> None:
        self.method = method
        self._body = body
        if match:
            self.content_type += b"\r\nIf-Match: " + match

    def body(self, account: Account, number: int) -> bytes:
        """What was given."""
        return self._body


def ask(client: Client, method: bytes, body: bytes = b"", match: bytes = b"") -> tuple[int, bytes]:
    """One request: the status, and the whole response."""
    client.adopt(_Any(method, body, match))
    client.send()
    while not client.take():
        pass
    return client.status, client.response


def main(port: int, user: str, password: str, name: str, count: int) -> int:
    """Add so many entries; how often others were quicker."""
    client = Client(Account(0, user, "example.com", password), port)
    late = 0
    for number in range(count):
        while True:
            _, response = ask(client, b"GET")
            head, _, document = response.partition(b"\r\n\r\n")
            place = head.lower().index(b"\r\netag: ") + 8
            tag = head[place:].partition(b"\r\n")[0]
            entry = b'<entry uri="sip:%b-%d@example.com"/></list>' % (name.encode(), number)
            status, _ = ask(client, b"PUT", document.replace(b"</list>", entry), tag)
            if status != 412:
                break
            late += 1
    client.socket.close()
    return late


if __name__ == "__main__":
    _, _port, _user, _password, _name, _count = sys.argv
    print(main(int(_port), _user, _password, _name, int(_count)))
