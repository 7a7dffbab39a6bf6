"""The generator measured against its own sink: what it can do where nothing else is the bound."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final

from simplestack.stone.configuration import Configuration, Report, Server
from simplestack.stone.controller import Controller
from simplestack.stone.running import Run, run
from simplestack.stone.scenarios import SCENARIOS
from simplestack.stone.sink import running_sink

__all__ = ["calibrate", "judged", "scaled"]

#: Seconds of each step, how many there are at most, and the part of a core where it is enough.
_LENGTH: Final = 0.6
_STEPS: Final = 5
_ENOUGH: Final = 0.7
_PEOPLE: Final = 200


def scaled(configuration: Configuration, port: int) -> Configuration:
    """The configuration, small, and at a sink at this port; an outage is a fan-out there."""
    load = configuration.load
    presentities = min(load.presentities, _PEOPLE)
    watchers = min(load.watchers, _PEOPLE)
    most = presentities - 1 if load.mutual else watchers
    each = min(load.watchers_each, most)
    scenario = "fan-out" if SCENARIOS[load.scenario].outage else load.scenario
    if scenario == "subscribe":
        # Enough that each step has new ones.
        presentities, watchers, each = _PEOPLE, _PEOPLE, _PEOPLE
    transport = "udp" if configuration.server.transport == "udp" else "tcp"
    return replace(
        configuration,
        server=Server("127.0.0.1", port, transport, configuration.server.domain),
        load=replace(
            load,
            scenario=scenario,
            presentities=presentities,
            watchers=watchers,
            watchers_each=each,
            mutual=load.mutual and scenario != "subscribe",
            lists=False,
            connections=min(load.connections, 16),
            warm=0.2,
            length=_LENGTH,
            limit=1.0,
        ),
        generator=replace(configuration.generator, calibrate=False, remote=False, clean=False),
        report=Report(),
    )


def calibrate(
    configuration: Configuration, tick: Callable[[Controller], None] = lambda controller: None
) -> dict[str, Any]:
    """What loaders and handlers like those of the run can do.  Raises StoneError.

    ``capacity`` is the rate at which the busiest of them would use a whole core, or the lowest that
    the sink did not keep.
    """
    transport = "udp" if configuration.server.transport == "udp" else "tcp"
    good: dict[str, Any] = {}
    failed: list[float] = []

    def rates(made: Run) -> Iterator[float]:
        rate = max(configuration.load.rate, 200.0)
        for _ in range(_STEPS):
            yield rate
            step = made.steps[-1]
            busy = max(step["generator"]["busy"])
            if step["success"] <= 0.999:
                failed.append(rate)
                if good and good["success"] > 0.999:
                    return
                good.update(step)
                rate /= 3.0
                continue
            good.update(step)
            if failed or busy > _ENOUGH:
                return
            rate *= min(3.0, max(1.2, _ENOUGH / max(busy, 0.01)))

    with running_sink(transport, configuration.users.digest) as port:
        run(scaled(configuration, port), rates, tick=tick)
    busy = max(good["generator"]["busy"])
    return {
        "transport": transport,
        "rate": good["rate"],
        "messages_per_second": good["messages_per_second"],
        "messages_per_core": good["generator"]["messages_per_core"],
        "busy": good["generator"]["busy"],
        "capacity": min([good["rate"] / busy, *failed]) if busy else 0.0,
    }


def judged(step: dict[str, Any], calibration: dict[str, Any] | None) -> dict[str, Any]:
    """The step, where the calibration says that the sink would have been the bound, saying so."""
    if calibration is None or step["generator"]["bound"] or step["success"] > 0.999:
        return step
    if step["rate"] > 0.9 * calibration["capacity"] > 0:
        generator = step["generator"]
        generator["bound"] = True
        generator["why"] = (
            f"against its own sink it reaches {calibration['capacity']:.0f} operations/s, not more"
        )
    return step
