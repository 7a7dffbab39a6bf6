"""A run from the first connection to the result."""

import datetime
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

from simplestack.stone.configuration import Configuration
from simplestack.stone.controller import Controller, Step, workers
from simplestack.stone.errors import (
    ConfigurationError,
    InterruptedRunError,
    ServerGoneError,
    StoneError,
)
from simplestack.stone.population import watchers_of
from simplestack.stone.processes import Processes, Usage, machine_busy, machine_said
from simplestack.stone.results import Sample, silent, step_result
from simplestack.stone.rules import put_rules
from simplestack.stone.scenarios import SCENARIOS
from simplestack.stone.tally import SUBSCRIBE

__all__ = ["FORMAT", "Run", "most_of", "rates_of", "run"]

#: The number of the layout of results.
FORMAT = 1
#: The success of a step after which nothing must be made good for the next one.
_WHOLE = 0.999


def most_of(configuration: Configuration) -> float:
    """The highest rate for which there is somebody to do every operation.

    A pair of watcher and presentity begins one subscription in a step of the scenario subscribe.
    """
    load = configuration.load
    if SUBSCRIBE not in SCENARIOS[load.scenario].kinds or SCENARIOS[load.scenario].outage:
        return math.inf
    subscriptions = sum(watchers_of(load))
    if load.lists:
        subscriptions = load.presentities if load.mutual else load.watchers
    return subscriptions / (load.warm + load.length)


def rates_of(configuration: Configuration) -> list[float]:
    """The rates of the steps of a run.

    Raises ConfigurationError where there are too few users for one, or nothing is due in one.
    """
    load = configuration.load
    if load.rates:
        rates = list(load.rates)
    elif SCENARIOS[load.scenario].outage:
        rates = [load.presentities / load.outage]
    else:
        rates = [load.rate]
    if not SCENARIOS[load.scenario].outage and min(rates) * load.length < 1:
        raise ConfigurationError(
            f"load.rate: at {min(rates):g}/s nothing is due in a load.length of {load.length:g} s"
        )
    most = most_of(configuration)
    if max(rates) > most:
        raise ConfigurationError(
            f"load.rate: {max(rates):g}/s is more than {most:.4g}/s, for which there are pairs of watcher "
            "and presentity to subscribe anew in a step; more load.watchers_each make more"
        )
    return rates


class Run:
    """Does the steps, and looks at the server meanwhile."""

    def __init__(self, configuration: Configuration, controller: Controller) -> None:
        self.configuration = configuration
        self.controller = controller
        self.watched = Processes(configuration.server.watch)
        self.steps: list[dict[str, Any]] = []
        self.subscriptions = 0
        self._memory = 0

    def prepare(self) -> None:
        """What comes before the first step."""
        self.controller.gather()
        if self.configuration.server.xcap:
            self.controller.stage = "putting presence rules"
            put_rules(self.configuration, self._put)

        def look() -> None:
            self._memory = self.watched.usage().memory

        self.subscriptions = self.controller.prepare(look)
        self._memory = self.watched.usage().memory - self._memory if self._memory else 0

    def _put(self, count: int) -> None:
        if not count % 100:
            self.controller.stage = f"preparing: presence rules {count}"
            self.controller.tick(self.controller)

    def step(self, rate: float) -> dict[str, Any]:
        """A step at this rate; its result, which is kept, too."""
        load = self.configuration.load
        outage = SCENARIOS[load.scenario].outage
        last = self.steps[-1] if self.steps else None
        if last and last["success"] < _WHOLE and not silent(last):
            self.controller.recover()
        if self.steps and SCENARIOS[load.scenario].kinds == (SUBSCRIBE,):
            self.controller.release()
        length = load.presentities / rate if outage else load.length
        step = Step(rate, 0.0 if outage else load.warm, length)
        samples: list[Sample] = []

        def sample() -> None:
            usage = self.watched.usage() if self.watched else Usage(0.0, 0)
            samples.append(Sample(time.monotonic(), usage, machine_busy()))

        self.controller.step(step, sample, sample)
        result = step_result(load, step, (samples[0], samples[1]), bool(self.watched))
        self.steps.append(result)
        return result

    def check_server(self) -> None:
        """Raise StoneError where the server is gone: what follows would tell nothing of it."""
        for name in self.watched.ended():
            raise ServerGoneError(f"server.watch: {name} has ended")
        # One that is silent for a step may be that late.
        if len(self.steps) > 1 and all(silent(step) for step in self.steps[-2:]):
            raise ServerGoneError("nothing was answered in two steps: the server is gone")

    def result(
        self, calibration: dict[str, Any] | None, interrupted: str | None = None
    ) -> dict[str, Any]:
        """All that is known; ``interrupted`` says why it is not all that was asked for."""
        values = self.configuration.values()
        values["users"]["password"] = values["generator"]["token"] = ""
        # A server that has served others before may take what those left.
        each = self._memory / self.subscriptions if self._memory > 0 < self.subscriptions else None
        return {
            "format": FORMAT,
            "title": self.configuration.report.title or self.configuration.load.scenario,
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "machine": machine_said(),
            "configuration": values,
            "calibration": calibration,
            "subscriptions": self.subscriptions,
            "memory_per_subscription": each,
            "steps": self.steps,
            "knee": None,
            "interrupted": interrupted,
        }


def _rescued(controller: Controller) -> str:
    """What is left at the server; somebody who interrupts twice does not wait for it."""
    try:
        return controller.rescue()
    except KeyboardInterrupt:
        return "; what it has left at the server stays until it expires"


def run(
    configuration: Configuration,
    rates: Callable[[Run], Iterator[float]] | None = None,
    *,
    tick: Callable[[Controller], None] = lambda controller: None,
    stepped: Callable[[dict[str, Any]], None] = lambda result: None,
    waiting: Callable[[str, str], None] = lambda address, token: None,
    calibration: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Run it; what it has shown.  Raises InterruptedRunError after Ctrl-C, and where it could not go on.

    ``rates`` chooses the next rate by what the run has shown; else those of the configuration.
    """
    generator = configuration.generator
    with workers(configuration, generator.token, generator.listen) as (listener, token, alive):
        if generator.remote:
            address = listener.getsockname()
            waiting(f"{address[0]}:{address[1]}", token)
        controller = Controller(configuration, listener, token, tick, alive)
        try:
            made = Run(configuration, controller)
            try:
                made.prepare()
                for rate in rates(made) if rates else iter(rates_of(configuration)):
                    stepped(made.step(rate))
                    made.check_server()
                if generator.clean:
                    controller.clean()
            except ConfigurationError:
                raise
            except (KeyboardInterrupt, StoneError) as error:
                why = str(error) if isinstance(error, StoneError) else "interrupted"
                if generator.clean and not isinstance(error, ServerGoneError):
                    why += _rescued(controller)
                raise InterruptedRunError(made.result(calibration, why), why) from None
            return made.result(calibration)
        finally:
            controller.close()
