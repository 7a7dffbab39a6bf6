"""What ends a run."""

__all__ = ["ConfigurationError", "StoneError"]


class StoneError(Exception):
    """The run can't go on; the text says why, for a person."""


class ConfigurationError(StoneError):
    """A configuration that can't be used."""
