"""How many connections the operating system lets this process have: its file descriptors."""

from __future__ import annotations

import resource

__all__ = ["RESERVE", "raise_limit", "room"]

RESERVE = 256
"""Descriptors that are not for SIP connections: the database, logs, listeners, XCAP."""


def raise_limit(connections: int) -> None:
    """Raise the soft limit as far as so many connections need, and as the hard one allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + RESERVE
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def room(connections: int) -> int:
    """How many connections fit, of so many that are wanted; half of the limit at the least."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return connections
    return min(connections, max(soft - RESERVE, soft // 2))
