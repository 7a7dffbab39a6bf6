"""The log as JSON: one object a line, for programs that read it."""

import json
import sys
from datetime import UTC, datetime
from typing import Any, TextIO

from twisted.logger import FileLogObserver, LogEvent, formatEvent

__all__ = ["observer"]

#: What ``twisted.python.log`` adds to events; the rest of them says the same.
_LEGACY = frozenset({"format", "isError", "message", "system", "time", "why"})


def observer(stream: TextIO | None = None) -> FileLogObserver:
    """An observer that writes each event as one line of JSON, to stdout where no stream is given.

    For ``twistd --logger=simplestack.app.jsonlog.observer``.
    """
    return FileLogObserver(sys.stdout if stream is None else stream, _line)


def _line(event: LogEvent) -> str:
    """``time``, ``level``, ``namespace``, ``text``; what the text is made of; ``failure``."""
    level = event.get("log_level")
    record: dict[str, Any] = {
        "time": datetime.fromtimestamp(event["log_time"], UTC).isoformat(timespec="milliseconds"),
        "level": "info" if level is None else level.name,
        "namespace": event.get("log_namespace") or "",
        "text": formatEvent(event),
    }
    for name, value in event.items():
        # Objects are in the text, as far as they are for others to see.
        known = name.startswith("log_") or name in _LEGACY or name in record
        if not known and isinstance(value, (str, int, float, bool)):
            record[name] = value
    failure = event.get("log_failure")
    if failure is not None:
        record["failure"] = failure.getTraceback()
    return json.dumps(record, ensure_ascii=False) + "\n"
