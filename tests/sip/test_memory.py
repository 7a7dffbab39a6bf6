"""What functions of texts and other values remember."""

from itertools import pairwise
from sys import getrefcount
from weakref import WeakSet

from twisted.trial.unittest import SynchronousTestCase

from simplestack.sip.memory import make_room, remember, remember_short, share


class _Value(list[str]):
    __hash__ = object.__hash__  # type: ignore[assignment]  # a list has none


class RememberTests(SynchronousTestCase):
    def test_remembered(self) -> None:
        """Short texts are read once, long ones each time, bad ones refused each time."""
        calls: list[str] = []

        @remember(2)
        def read(text: str) -> str:
            calls.append(text)
            return text

        for text in ("a", "a", "b" * 513, "b" * 513):
            read(text)
        self.assertEqual(calls, ["a", "b" * 513, "b" * 513])

    def test_let_go(self) -> None:
        """What users said is let go one by one as others come: never more than one for each."""

        @remember(100, each=1)
        def read(text: str) -> list[str]:
            value = _Value([text])
            living.add(value)
            return value

        living: WeakSet[_Value] = WeakSet()
        counts = []
        for number in range(1000):
            read(f"sip:u{number}@example.com")
            counts.append(len(living))
        self.assertGreaterEqual(min(b - a for a, b in pairwise(counts)), 0)
        self.assertEqual(max(counts), 201)

    def test_room_for_users(self) -> None:
        """As many texts are kept as users say again and again, and never fewer than at first."""
        calls: list[str] = []

        @remember(4, each=2)
        def read(text: str) -> str:
            calls.append(text)
            return text

        texts = [f"sip:u{number}@example.com" for number in range(40)]

        def missed() -> int:
            for text in texts * 2:
                read(text)
            calls.clear()
            for text in texts:
                read(text)
            return len(calls)

        self.assertEqual(missed(), 40)
        make_room(20)
        self.addCleanup(make_room, 0)
        self.assertEqual(missed(), 0)
        make_room(1)
        for number in range(10):
            read(f"sip:other{number}@example.com")
        self.assertEqual(missed(), 40)


class ShareTests(SynchronousTestCase):
    def test_one_object(self) -> None:
        """Equal texts are one object, whoever says them."""
        texts = ["".join(("<sip:al", "ice@example.com>")) for _ in range(2)]
        self.assertIsNot(*texts)
        self.assertIs(*map(share, texts))

    def test_strangers(self) -> None:
        """Of texts that nobody has any more only so many are kept, and none that is long."""
        long = "x" * 513
        before = getrefcount(long)
        self.assertIs(share(long), long)
        self.assertEqual(getrefcount(long), before)
        text = "".join(("<sip:str", "anger@example.com>"))
        before = getrefcount(text)
        share(text)
        self.assertGreater(getrefcount(text), before)
        for number in range(3 * 16_384 + 1):
            share(f"<sip:u{number}@example.com>")
        self.assertEqual(getrefcount(text), before)


class RememberShortTests(SynchronousTestCase):
    def test_length(self) -> None:
        """What is short is read once, what is long each time, and nothing of it is kept."""
        calls: list[int] = []

        @remember_short(4, tuple.__len__)
        def read(values: tuple[int, ...]) -> int:
            calls.append(len(values))
            return len(values)

        short, long = tuple(range(2000)), tuple(range(2001))
        before = getrefcount(long)
        for values in (short, short, long, long):
            self.assertEqual(read(values), len(values))
        self.assertEqual(calls, [2000, 2001, 2001])
        del values
        self.assertEqual(getrefcount(long), before)

    def test_size(self) -> None:
        """At most twice as many as was said are kept, those that were used last."""
        calls: list[str] = []

        @remember_short(4, str.__len__)
        def read(text: str) -> None:
            calls.append(text)

        values = [bytes([65 + number]).decode() * 9 for number in range(20)]

        def held() -> list[int]:
            return [getrefcount(value) for value in values]

        before = held()
        for number in range(len(values)):
            read(values[number])
        calls.clear()
        kept = [now > then for now, then in zip(held(), before, strict=True)]
        self.assertEqual(kept, [False] * 12 + [True] * 8)
