"""The torture messages of RFC 4475, and what is to be expected of them."""

import json
from pathlib import Path
from typing import TypedDict

__all__ = ["CASES", "FOLDER", "Case", "octets"]

FOLDER = Path(__file__).parent / "data" / "torture"


class Case(TypedDict):
    """One line of the index."""

    file: str
    kind: str
    parse: int | None
    validate: int | None
    endpoint: list[int]
    stream: str


CASES: list[Case] = json.loads((FOLDER / "index.json").read_text())


def octets(file: str) -> bytes:
    """The octets of a message, by the name of its file."""
    return (FOLDER / file).read_bytes()
