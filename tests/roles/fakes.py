"""What decisions are tested with: counted identifiers and requests without a network."""

from simplestack.interfaces import IRole
from simplestack.outcome import Incoming, Outcome
from simplestack.sip.message import Request, Response
from simplestack.state import ResourceState
from tests.event.fakes import Counter

ALICE = "sip:alice@example.com"
BOB = "sip:bob@example.com"


def request(method: str, headers: dict[str, str | list[str]], body: bytes = b"") -> Request:
    """A request of Alice about herself; ``headers`` are added to the mandatory ones."""
    all_headers: dict[str, list[str]] = {
        "Via": ["SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1"],
        "Max-Forwards": ["70"],
        "From": [f"<{ALICE}>;tag=a"],
        "To": [f"<{ALICE}>"],
        "Call-ID": ["first@192.0.2.1"],
        "CSeq": [f"1 {method}"],
    }
    for name, value in headers.items():
        all_headers[name] = [value] if isinstance(value, str) else value
    return Request(method, ALICE, all_headers, body)


def incoming(
    sent: Request, *, identity: str = ALICE, aor: str = ALICE, flow: str = "udp:a>b"
) -> Incoming:
    """The request as it reaches a role."""
    return Incoming(sent, aor, identity, flow, False, "sip:192.0.2.9")


class Decided:
    """A role, the state of Alice, and the decisions that were made and applied."""

    def __init__(self, role: IRole) -> None:
        self.role = role
        self.state = ResourceState(ALICE)
        self.identifiers = Counter()

    def decide(self, arrived: Incoming, now: float) -> Outcome[Response]:
        """Decide and apply; raises what the role raises."""
        outcome = self.role.decide(arrived, self.state, now, self.identifiers)
        self.state.apply(outcome.changes)
        return outcome

    def expire(self, now: float) -> None:
        """Let the clock act."""
        self.state.apply(self.role.expire(self.state, now))
