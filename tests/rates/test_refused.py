"""What a process remembers of those that were refused."""

from shared.clock import ManualClock
from shared.rates import refused
from shared.rates.refused import Refused


def test_a_refusal_holds_until_its_end() -> None:
    clock = ManualClock()
    known = Refused(clock)
    assert known.wait("ada") == 0
    known.note("ada", 10)
    clock.advance(9.5)
    assert (known.wait("ada"), known.wait("ben")) == (1, 0)
    clock.advance(0.5)
    assert known.wait("ada") == 0


def test_fewer_than_were_refused_may_be_allowed() -> None:
    clock = ManualClock()
    known = Refused(clock)
    known.note("ada", 10, 5)
    assert [known.wait("ada", count) for count in (4, 5, 6)] == [0, 10, 10]
    known.note("ada", 10, 2)
    known.note("ada", 10, 5)
    assert [known.wait("ada", count) for count in (1, 2)] == [0, 10]
    clock.advance(10)
    known.note("ada", 10, 5)
    assert known.wait("ada", 2) == 0


def test_the_oldest_refusals_make_room(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(refused, "MAX_REMEMBERED", 3)
    known = Refused(ManualClock())
    for number in range(5):
        known.note(str(number), 10)
    assert [known.wait(str(number)) > 0 for number in range(5)] == [False, False, True, True, True]
    known.note("4", 10)
    assert known.wait("2") == 10
