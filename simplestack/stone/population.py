"""Who is there, and who watches whom: the same for a seed, at every process."""

from collections.abc import Iterator
from random import Random

from simplestack.stone.configuration import Load

__all__ = ["pairs", "user_count", "watcher_number", "watchers_of"]


def watchers_of(load: Load) -> list[int]:
    """How many watchers each presentity has; it sums up to the average's, as far as there are any.

    With ``zipf``, the presentity of rank r has 1/r^exponent of the watchers of the first
    (presentities are ranked by their number); none has more than there are.
    """
    count = load.presentities
    most = count - 1 if load.mutual else load.watchers
    wanted = min(round(load.watchers_each * count), most * count)
    if most <= 0 or wanted <= 0:
        return [0] * count
    if load.distribution == "fixed":
        each, more = divmod(wanted, count)
        return [each + (at < more) for at in range(count)]
    weights = [1.0 / rank**load.exponent for rank in range(1, count + 1)]
    # Those at the bound leave their excess to the others: the scale is found by bisection.
    low, high = 0.0, most / weights[-1]
    for _ in range(100):
        middle = (low + high) / 2
        if sum(min(most, middle * weight) for weight in weights) < wanted:
            low = middle
        else:
            high = middle
    exact = [min(most, high * weight) for weight in weights]
    made = [int(value) for value in exact]
    missing = wanted - sum(made)
    by_rest = sorted(range(count), key=lambda at: made[at] - exact[at])
    while missing > 0:
        for at in by_rest:
            if missing > 0 and made[at] < most:
                made[at] += 1
                missing -= 1
    return made


def watcher_number(load: Load, index: int) -> int:
    """The number of a watcher among the users."""
    return index if load.mutual else load.presentities + index


def pairs(load: Load) -> Iterator[tuple[int, int]]:
    """Every pair of watcher and presentity, by their indexes, the watchers shuffled by the seed."""
    random = Random(load.seed)
    population = load.presentities if load.mutual else load.watchers
    order = list(range(population))
    random.shuffle(order)
    at = 0
    for presentity, number in enumerate(watchers_of(load)):
        # Going round the shuffled watchers gives each as many presentities as any other.
        taken = 0
        while taken < number:
            watcher = order[at % population]
            at += 1
            if load.mutual and watcher == presentity:
                continue
            taken += 1
            yield watcher, presentity


def user_count(load: Load) -> int:
    """How many users a run needs."""
    return load.presentities + (0 if load.mutual else load.watchers)
