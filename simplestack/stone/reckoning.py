"""The reckoning of subscriptions: what was published, and whether they were told it."""

from simplestack.stone.parties import Dialog
from simplestack.stone.tally import Tally

__all__ = ["count_missing", "unshown", "untold"]


def unshown(dialogs: dict[bytes, Dialog]) -> int:
    """How many subscriptions have not shown anything of what this run has published."""
    count = 0
    for dialog in dialogs.values():
        if dialog.state == 1 and dialog.last < 0 and not dialog.table:
            count += 1
    return count


def untold(dialogs: dict[bytes, Dialog], final: dict[int, int]) -> bool:
    """Whether something that was published, or the state at the start, may still be told.

    ``final`` are the last serial numbers by presentity.
    """
    for dialog in dialogs.values():
        if dialog.state == 2:
            continue
        if dialog.cseq < 0:
            if dialog.state == 1:
                # Every subscription is told its state (RFC 6665 §4.2.1.2).
                return True
        elif dialog.presentity >= 0:
            if 0 <= dialog.last < final.get(dialog.presentity, 0):
                return True
        else:
            for presentity, (last, _) in dialog.table.items():
                if last < final.get(presentity, 0):
                    return True
    return False


def count_missing(
    dialogs: dict[bytes, Dialog], final: dict[int, int], uncounted: dict[int, int], tally: Tally
) -> None:
    """Count what was published but never told, once nothing is under way any more.

    ``uncounted`` are the last serial numbers of the warm-up.
    """
    for dialog in dialogs.values():
        if dialog.state == 2 or dialog.cseq < 0:
            continue
        if dialog.presentity >= 0:
            serial = final.get(dialog.presentity, 0)
            if dialog.last >= 0 and serial > dialog.last:
                tally.missing += serial - max(dialog.last, uncounted.get(dialog.presentity, 0))
                dialog.last = serial
        else:
            for presentity, (last, moment) in list(dialog.table.items()):
                serial = final.get(presentity, 0)
                if serial > last:
                    tally.missing += serial - max(last, uncounted.get(presentity, 0))
                    dialog.table[presentity] = (serial, moment)
