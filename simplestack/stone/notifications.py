"""NOTIFYs on the lean path: answered, matched to their PUBLISHes by the marks, and timed.

There is no parser, as in ``lean``; a NOTIFY in which what is looked for can't be found is respelled.
"""

import time

from simplestack.stone.credentials import values_of
from simplestack.stone.parties import Dialog
from simplestack.stone.tally import Tally
from simplestack.stone.templates import MARK, dialog_lines, respelled
from simplestack.stone.wire import Link

__all__ = ["Notifications"]


class Notifications:
    """The dialogs of a process, and what they have been told."""

    def __init__(self, run: bytes, limit: float, offset: float) -> None:
        self.limit = limit
        #: What the controller's clock is ahead of ours.
        self.offset = offset
        #: What the marks of this run begin with: other runs may have left some.
        self.mark = MARK + run
        self.dialogs: dict[bytes, Dialog] = {}
        self.tally = Tally()
        #: From when to when operations count, by their scheduled moment: microseconds of the
        #: controller's clock, so that all processes count the same ones.
        self.begin = 0
        self.end = 0
        #: Whether messages count now.
        self.counting = False

    def moment(self, when: float) -> int:
        """A time of our clock in microseconds of the controller's."""
        return int((when + self.offset) * 1000000.0 + 0.5)

    def take(self, link: Link, data: bytes) -> None:
        """Answer a NOTIFY, and match it.  Raises ValueError where a number in it is none."""
        call = data.find(b"\r\nCall-ID: d") + 12
        via = data.find(b"\r\nVia: ")
        sequence = data.find(b"\r\nCSeq: ")
        if call < 12 or via < 0 or sequence < 0:
            data = respelled(data)
            call = data.find(b"\r\nCall-ID: d") + 12
            via = data.find(b"\r\nVia: ")
            sequence = data.find(b"\r\nCSeq: ")
            if call < 12 or via < 0 or sequence < 0:
                self.tally.strays += 1
                return
        vias = data.find(b"\r\n", via + 2)
        while data[vias : vias + 7] == b"\r\nVia: ":
            vias = data.find(b"\r\n", vias + 2)
        sequence_end = data.find(b"\r\n", sequence + 2)
        dialog = self.dialogs.get(data[call : call + 10])
        if dialog is None or data[:7] != b"NOTIFY ":
            # "If no such subscription is known, 481" (RFC 6665 §4.1.3)
            self.tally.strays += 1
            answer = (
                b"SIP/2.0 481 Subscription Does Not Exist%b%b%b\r\nContent-Length: 0\r\n\r\n"
                % (
                    data[via:vias],
                    dialog_lines(data),
                    data[sequence:sequence_end],
                )
            )
            link.send(answer)
            return
        if not dialog.lines:
            dialog.lines = dialog_lines(data)
        answer = b"".join(
            (
                b"SIP/2.0 200 OK",
                data[via:vias],
                dialog.lines,
                data[sequence:sequence_end],
                b"\r\nContent-Length: 0\r\n\r\n",
            )
        )
        link.send(answer)
        now = time.monotonic()
        tally = self.tally
        if self.counting:
            tally.count("NOTIFY")
            tally.count("NOTIFY 2xx")
            tally.octets_out += len(answer)
        number = int(data[sequence + 8 : data.find(b" ", sequence + 8)])
        if number <= dialog.cseq:
            if not self.measured(now):
                return
            if number == dialog.cseq:
                tally.repeated += 1
            else:
                tally.out_of_order += 1
            return
        if dialog.cseq < 0 and dialog.counted:
            if data.find(b"\r\nSubscription-State: pending") < 0:
                took = int((now - dialog.due) * 1000000.0)
                tally.first.note(took)
                if took > self.limit * 1000000.0:
                    tally.first_late += 1
            else:
                tally.withheld += 1
        elif dialog.cseq >= 0 and number > dialog.cseq + 1 and self.measured(now):
            tally.gaps += number - dialog.cseq - 1
        dialog.cseq = number
        at = data.find(self.mark)
        if dialog.presentity >= 0:
            if at >= 0:
                self._told(dialog, dialog.presentity, data, at, now)
            elif dialog.last == -1:
                # Nothing was published yet, or it was taken back: what comes next is a change.
                dialog.last = -2
        else:
            while at >= 0:
                self._told(dialog, int(data[at + 13 : at + 21], 16), data, at, now)
                at = data.find(self.mark, at + 43)
        if data.find(b"\r\nSubscription-State: terminated") >= 0:
            self._terminated(dialog, data)

    def _told(self, dialog: Dialog, presentity: int, data: bytes, at: int, now: float) -> None:
        """Take the time of a change, and of those before it that were not told by themselves."""
        serial = int(data[at + 21 : at + 29], 16)
        due = int(data[at + 29 : at + 43], 16)
        last = dialog.last
        before = dialog.moment
        if dialog.presentity < 0:
            last, before = dialog.table.get(presentity, (-1, 0))
            if serial > last:
                dialog.table[presentity] = (serial, due)
        elif serial > last:
            dialog.last = serial
            dialog.moment = due
        # The first is the state at the time of the subscription.
        if serial <= last or last == -1:
            return
        self._timed(due, now, False)
        skipped = serial - last - 1
        if skipped > 0 and last >= 0:
            # This state stands for theirs. Their moments are not known here: evenly between.
            for each in range(min(skipped, 1000)):
                self._timed(before + (due - before) * (each + 1) // (skipped + 1), now, True)

    def measured(self, now: float) -> bool:
        """Whether what happens now counts, or belongs to the warm-up."""
        return self.moment(now) >= self.begin

    def _timed(self, due: int, now: float, superseded: bool) -> None:
        if not self.begin <= due < self.end:
            return
        tally = self.tally
        delay = self.moment(now) - due
        tally.notify.note(delay)
        if delay > self.limit * 1000000.0:
            tally.late += 1
        elif superseded:
            tally.superseded += 1
        else:
            tally.notified += 1

    def _terminated(self, dialog: Dialog, data: bytes) -> None:
        state = b"".join(values_of(data, b"Subscription-State"))
        if b"reason=timeout" not in state and dialog.state == 1 and self.measured(time.monotonic()):
            self.tally.error(f"NOTIFY: {state.decode('utf-8', 'replace')}")
        dialog.state = 2
