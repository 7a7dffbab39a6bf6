"""What ends a run."""

from typing import Any

__all__ = ["ConfigurationError", "InterruptedRunError", "ServerGoneError", "StoneError"]


class StoneError(Exception):
    """The run can't go on; the text says why, for a person."""


class InterruptedRunError(StoneError):
    """The run was ended by somebody, or could not go on; ``result`` has the steps that were over."""

    def __init__(self, result: dict[str, Any], why: str = "interrupted") -> None:
        super().__init__(why)
        self.result = result


class ServerGoneError(StoneError):
    """The server under test is there no more: there is nothing to take back."""


class ConfigurationError(StoneError):
    """A configuration that can't be used."""
