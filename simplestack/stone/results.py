"""What a run has shown: for people, for JSON, and for the report."""

from collections.abc import Iterable
from typing import Any

from simplestack.stone.configuration import Load
from simplestack.stone.controller import Step
from simplestack.stone.histogram import Times
from simplestack.stone.processes import Usage
from simplestack.stone.scenarios import SCENARIOS, users_of
from simplestack.stone.tally import METHODS, NOBODY

__all__ = [
    "PERCENTILES",
    "Sample",
    "calibration_line",
    "closing_lines",
    "lines_of",
    "merged",
    "short_of_users",
    "silent",
    "step_result",
    "times_of",
]

#: Names of the percentiles, and their percents.
PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p999": 99.9}
#: Part of a core that a process of the generator may use before it is the bound itself.
BUSY = 0.9
#: Part of what is asked for that a server answers meanwhile which keeps up with it.
_KEPT_UP = 0.95
#: Seconds that requests may leave late for want of its time.
LAG = 0.02


def merged(tallies: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The sum of what several processes counted; histograms as ``Times``."""
    total: dict[str, Any] = {}
    for tally in tallies:
        for name, value in tally.items():
            if name == "answers":
                kinds = total.setdefault(name, {})
                for kind, encoded in value.items():
                    kinds.setdefault(kind, Times()).add(encoded)
            elif isinstance(value, dict):
                counts = total.setdefault(name, {})
                for key, number in value.items():
                    counts[key] = counts.get(key, 0) + number
            elif isinstance(value, str):
                total.setdefault(name, Times()).add(value)
            else:
                total[name] = total.get(name, 0) + value
    return total


def times_of(times: Times) -> dict[str, Any]:
    """The percentiles of a histogram in seconds, and all of it."""
    return {
        "count": times.total,
        "mean": times.mean(),
        **{name: times.at(percent) for name, percent in PERCENTILES.items()},
        "max": times.longest(),
        "histogram": times.encoded(),
    }


class Sample:
    """What the server has used at a moment."""

    def __init__(self, moment: float, usage: Usage, machine: float) -> None:
        self.moment = moment
        self.usage = usage
        self.machine = machine


def step_result(
    load: Load, step: Step, samples: tuple[Sample, Sample] | None, watched: bool
) -> dict[str, Any]:
    """All figures of a step."""
    total = merged(step.tallies)
    started, succeeded = sum(total["started"].values()), sum(total["succeeded"].values())
    told = total["notified"] + total["superseded"]
    expected = told + total["late"] + total["missing"]
    subscribed = total["succeeded"]["subscribe"]
    first = min(total["first"].total - total["first_late"], subscribed)
    errors = dict(sorted(total["errors"].items(), key=lambda item: -item[1]))
    shown = total["first"].total + total["withheld"]
    if subscribed > shown:
        errors["SUBSCRIBE: no NOTIFY came"] = subscribed - shown
    if total["first_late"]:
        errors[f"SUBSCRIBE: NOTIFY later than {load.limit:g} s"] = total["first_late"]
    if total["late"]:
        errors[f"NOTIFY: later than {load.limit:g} s"] = total["late"]
    if total["missing"]:
        errors["NOTIFY: never came"] = total["missing"]
    if total["withheld"]:
        errors["NOTIFY: pending, the watcher is not allowed"] = total["withheld"]
    attempted = started + expected + subscribed
    messages = sum(total["messages"].values())
    # Of a server that is late, more is answered in time than while its CPU is taken.
    answered = sum(total["messages"].get(f"{name} 2xx", 0) for name in set(METHODS))
    result: dict[str, Any] = {
        "rate": step.rate,
        "seconds": step.length,
        "users": users_of(load, step.rate),
        "success": (succeeded + told + first) / attempted if attempted else 0.0,
        "operations": {
            kind: {
                "started": number,
                "succeeded": total["succeeded"][kind],
                "times": times_of(total["answers"][kind]) if kind in total["answers"] else None,
            }
            for kind, number in total["started"].items()
            if number
        },
        "operations_per_second": answered / step.length,
        "notify": {
            "expected": expected,
            "told": total["notified"],
            "superseded": total["superseded"],
            "late": total["late"],
            "missing": total["missing"],
            "times": times_of(total["notify"]),
        },
        "first_notify": times_of(total["first"]),
        "messages_per_second": messages / step.length,
        "messages": {
            name: count / step.length for name, count in sorted(total["messages"].items())
        },
        # Within a long limit a server may answer all that it falls behind with (all of an outage).
        "behind": answered < _KEPT_UP * started and not SCENARIOS[load.scenario].outage,
        "octets_per_second": (total["octets_in"] + total["octets_out"]) / step.length,
        "retransmissions": {"sent": total["retransmitted"], "received": total["repeated"]},
        "out_of_order": total["out_of_order"],
        "lost": max(total["gaps"] - total["out_of_order"], 0),
        "strays": total["strays"],
        "challenged": total["challenged"],
        "connections": {
            name: sum(each[name] for each in step.finished) for name in ("opened", "resumed")
        },
        "errors": errors,
        "generator": _generator(step, total, messages),
        "server": None,
    }
    if samples is not None:
        result["machine_busy"] = _rate(samples, samples[1].machine - samples[0].machine)
        if watched:
            busy = _rate(samples, samples[1].usage.cpu - samples[0].usage.cpu)
            result["server"] = {
                "busy": busy,
                "cpu_per_operation": busy * step.length / answered if answered else None,
                "cpu_per_message": busy * step.length / messages if messages else None,
                "memory": samples[1].usage.memory,
            }
    return result


def _rate(samples: tuple[Sample, Sample], used: float) -> float:
    took = samples[1].moment - samples[0].moment
    return used / took if took > 0 else 0.0


def _generator(step: Step, total: dict[str, Any], messages: int) -> dict[str, Any]:
    busy = [each["cpu"] / step.length for each in step.finished]
    lag = total["lag"].at(99)
    why = ""
    if max(busy, default=0.0) > BUSY:
        why = f"a loader or handler used {max(busy):.0%} of a core"
    elif lag > LAG:
        why = f"one request in a hundred left {lag * 1000:.0f} ms or more after its moment"
    cpu = sum(busy) * step.length
    return {
        "busy": busy,
        "lag_p99": lag,
        "cpu_per_message": cpu / messages if messages else None,
        "messages_per_core": messages / cpu if cpu else None,
        "bound": bool(why),
        "why": why,
    }


def silent(result: dict[str, Any]) -> bool:
    """Whether the server was asked something in a step, and said nothing at all."""
    asked = any(each["started"] for each in result["operations"].values())
    done = any(each["succeeded"] for each in result["operations"].values())
    return asked and not done and set(result["messages"]) <= set(METHODS)


def short_of_users(result: dict[str, Any]) -> bool:
    """Whether something in a step was not done because all users waited for answers."""
    return any(what.endswith(NOBODY) for what in result["errors"])


def lines_of(result: dict[str, Any]) -> list[str]:
    """A step's figures in some lines."""
    lines = [
        f"rate {result['rate']:g}/s for {result['seconds']:g} s: success {result['success']:.3%}, "
        f"{result['operations_per_second']:.0f} operations/s, "
        f"{result['messages_per_second']:.0f} messages/s"
        + (f", as {result['users']:,.0f} users make" if result["users"] else "")
    ]
    for kind, each in result["operations"].items():
        times = each["times"]
        said = f"  {kind:11} {each['succeeded']} of {each['started']}"
        lines.append(said + (f", answered in {_times(times)}" if times else ""))
    notify = result["notify"]
    if notify["expected"]:
        lines.append(
            f"  NOTIFY      {notify['told']} told, {notify['superseded']} by a newer one, "
            f"{notify['late']} late, {notify['missing']} missing, in {_times(notify['times'])}"
        )
    if result["first_notify"]["count"]:
        lines.append(f"  first NOTIFY in {_times(result['first_notify'])}")
    server = result["server"]
    if server:
        each = server["cpu_per_operation"]
        lines.append(
            f"  server      {server['busy']:.0%} of a core"
            + (f", {each * 1e6:.0f} µs an operation" if each else "")
            + f", {server['memory'] / 1e6:.0f} MB"
        )
    sent = result["retransmissions"]
    lines.append(
        f"  sent again {sent['sent']}, came again {sent['received']}, "
        f"lost {result['lost']}, out of order {result['out_of_order']}, challenged {result['challenged']}"
    )
    made = result["connections"]
    if made["opened"]:
        lines.append(
            f"  {made['opened']} connections made again, {made['resumed']} resumed a TLS session"
        )
    for what, number in list(result["errors"].items())[:8]:
        lines.append(f"  {number} × {what}")
    if result.get("behind"):
        lines.append("  it fell behind: so much could not go on for long")
    if short_of_users(result):
        lines.append("  more load.presentities would let more be under way")
    generator = result["generator"]
    core = generator["messages_per_core"]
    lines.append(
        "  generator   "
        + ", ".join(f"{each:.0%}" for each in generator["busy"])
        + " of a core"
        + (f", {core:.0f} messages/s per core" if core else "")
        + (f"; IT WAS THE BOUND, not the server: {generator['why']}" if generator["bound"] else "")
    )
    return lines


def _times(times: dict[str, Any]) -> str:
    return (
        " ".join(
            f"{name.replace('p999', 'p99.9')} {times[name] * 1000:.1f}" for name in PERCENTILES
        )
        + f" max {times['max'] * 1000:.1f} ms"
    )


def calibration_line(calibration: dict[str, Any]) -> str:
    """What the generator can do, in a line."""
    core = calibration["messages_per_core"]
    return (
        f"the generator against its own sink, over {calibration['transport']}: "
        + (f"{core:.0f} messages/s per core, " if core else "")
        + f"full at {calibration['capacity']:.0f} operations/s"
    )


def closing_lines(result: dict[str, Any]) -> list[str]:
    """What is said at the end of a run."""
    lines = []
    if result.get("interrupted"):
        lines.append(f"cut short, these are the steps that were over: {result['interrupted']}")
    each = result["memory_per_subscription"]
    if each is not None:
        lines.append(
            f"{result['subscriptions']} subscriptions, {each:.0f} octets each at the server"
        )
    knee = result["knee"]
    if knee:
        said = f"knee: {knee['rate']:g}/s is borne, {knee['messages_per_second']:.0f} messages/s"
        if knee["users"]:
            said += f", as {knee['users']:,.0f} users make"
        if knee["not_borne"]:
            said += f"; {knee['not_borne']:g}/s is not"
        if knee.get("most"):
            said += "; there are not enough users to ask for more"
        if knee.get("short_of_users"):
            said += (
                "; all users waited for answers there, with more load.presentities it may be more"
            )
        if knee["generator_bound"]:
            said += "; the generator was the bound there, not the server"
        lines.append(said)
    return lines
