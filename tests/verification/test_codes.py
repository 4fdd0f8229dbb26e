"""The verbs of codes: repeats, stops after any write, late copies, and what each costs."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from local.rest_server.running import RunningServer
from shared.clock import ManualClock, SystemClock
from shared.errors import StoreScriptError
from shared.jobqueue.constants import CODE_TRIES
from shared.jobqueue.script import script
from shared.mailboxes import read_mailbox
from shared.signing.derived import code_tag, email_tag
from shared.verification.codes import FOLDER, VERBS, Codes, Sending
from shared.verification.errors import AddressBlocked, VerificationLimited
from tests.costs import COSTS
from tests.verification.conftest import PATIENT
from tests.world import World, make_world

EMAIL = "ada@example.com"
NAMES = read_mailbox(EMAIL).names
CLIENT = "93.184.215.14"
# Stops a script at one of its writes, as an engine does that refuses this command.
STOPPING = """
local real, writes = redis, 0
local redis = { call = function(name, ...)
  if name == 'SET' or name == 'ZADD' or name == 'ZREM' then writes = writes + 1 end
  if writes == %d then error('stopped') end
  return real.call(name, ...)
end }
"""


class Wire:
    """The store as codes see it: notes each call, stops scripts on request, and sends calls again."""

    def __init__(self, world: World) -> None:
        self._store = world.runtime.store
        self._verbs = {script(verb, FOLDER).text: verb for verb in VERBS}
        self.sent: tuple[str, ...] = ()
        self.stop_at = 0

    async def execute(self, *command: str) -> Any:
        self.sent = command
        if self.stop_at:
            command = (command[0], STOPPING % self.stop_at + command[1], *command[2:])
        return await self._store.execute(*command)

    async def again(self, **changes: str) -> Sequence[Any]:
        """Sends the last call once more, with other values of some arguments."""
        called, command = script(self._verbs[self.sent[1]], FOLDER), list(self.sent)
        names = [argument.name for argument in called.arguments]
        for name, value in changes.items():
            command[3 + len(called.keys) + names.index(name)] = value
        answer: Sequence[Any] = await self._store.execute(*command)
        return answer

    async def close(self) -> None:
        """Does nothing: the world closes its store."""


@pytest.fixture
async def world(any_store: RunningServer | None, clock: ManualClock) -> Any:
    async with make_world(any_store, clock) as made:
        yield made


@pytest.fixture
def wire(world: World) -> Wire:
    return Wire(world)


@pytest.fixture
def codes(world: World, wire: Wire) -> Codes:
    return Codes(wire, world.runtime.settings, world.clock)


async def state(world: World) -> dict[str, Any]:
    """All keys of codes, each with what it holds."""
    keys = await world.raw("KEYS", "*")
    return {key: await world.raw("GET", key) for key in sorted(keys) if not key.endswith(":vb")}


async def send(codes: Codes) -> Sending:
    return await codes.send("app", EMAIL, CLIENT, NAMES)


async def check(codes: Codes, code: str) -> bool:
    return await codes.check("app", EMAIL, CLIENT, code)


async def at_once(count: int, call: Callable[[int], Awaitable[bool]]) -> list[bool]:
    """Makes so many calls at once; as many are on their way as the client has connections, the others wait for them."""
    connections = asyncio.Semaphore(90)

    async def one(number: int) -> bool:
        async with connections:
            return await call(number)

    return await asyncio.gather(*(one(number) for number in range(count)))


def wrong(code: str, by: int = 1) -> str:
    return f"{(int(code) + by) % 1_000_000:06}"


async def test_the_store_holds_neither_the_code_nor_the_address_nor_the_client(world: World, codes: Codes) -> None:
    made = await send(codes)
    held = repr(await state(world))
    assert not any(secret in held for secret in (EMAIL, "ada", CLIENT, f"|{made.code}|"))
    secret = world.runtime.settings.signing_key
    tag = code_tag(secret, "app", EMAIL, made.code)
    assert tag in held and email_tag(secret, "app", EMAIL) in held
    assert tag != code_tag("another secret", "app", EMAIL, made.code)


async def test_a_repeat_of_each_verb_answers_the_same_and_changes_nothing(
    world: World, codes: Codes, wire: Wire
) -> None:
    made = await send(codes)
    for tried in (wrong(made.code), made.code, made.code):
        before, answer = await state(world), await wire.again()
        assert await state(world) == before, "of the call before"
        assert answer[0] in ("made", "wrong", "right")
        assert await check(codes, tried) == (tried == made.code and answer[0] == "wrong")
    assert (await wire.again())[0] == "wrong"
    await codes.release("app", EMAIL, CLIENT, made.token, is_counted=False)
    before = await state(world)
    assert (await wire.again())[0] == "stale" and await state(world) == before
    await codes.block({"spam.example": True, EMAIL: False})
    assert list(await wire.again()) == ["set", "1"]


async def test_a_release_brings_back_what_the_address_had(world: World, codes: Codes) -> None:
    first = await send(codes)
    await check(codes, wrong(first.code))
    world.manual.advance(60)
    before = await state(world)
    second = await send(codes)
    await codes.release("app", EMAIL, CLIENT, second.token, is_counted=False)
    after = await state(world)
    (record,) = (key for key in before if ":v:" in key)
    assert after[record].split("|")[1:6] == before[record].split("|")[1:6]
    assert await check(codes, first.code)
    await send(codes)  # the release has given the minute back


async def test_a_code_that_was_tried_before_its_mail_failed_counts_as_sent(world: World, codes: Codes) -> None:
    """Else a mail server that takes no mail would let a guesser try as often as they like."""
    sending = await send(codes)
    assert not await check(codes, wrong(sending.code))
    await codes.release("app", EMAIL, CLIENT, sending.token, is_counted=False)
    with pytest.raises(VerificationLimited):
        await send(codes)
    assert not await check(codes, sending.code)


async def test_a_release_is_of_its_own_code_alone(world: World, codes: Codes) -> None:
    first = await send(codes)
    world.manual.advance(60)
    second = await send(codes)
    before = await state(world)
    await codes.release("app", EMAIL, CLIENT, first.token, is_counted=False)
    assert await state(world) == before and await check(codes, second.code)


@pytest.mark.parametrize("is_counted", [True, False])
async def test_a_release_may_leave_the_call_counted_for_its_client(clock: ManualClock, is_counted: bool) -> None:
    async with make_world(None, clock, verification_client_rate="1/hour") as world:
        codes = Codes(world.runtime.store, world.runtime.settings, world.clock)
        await codes.release("app", EMAIL, CLIENT, (await send(codes)).token, is_counted=is_counted)
        if is_counted:
            with pytest.raises(VerificationLimited):
                await send(codes)
        else:
            await send(codes)


async def test_a_client_that_a_process_has_refused_costs_no_call_until_its_window_ends(
    valkey: RunningServer, clock: ManualClock
) -> None:
    async with make_world(valkey, clock, verification_client_rate="1/minute") as world:
        codes = Codes(world.runtime.store, world.runtime.settings, world.clock)
        await check(codes, "000000")
        for _ in range(2):
            with pytest.raises(VerificationLimited):
                await check(codes, "000000")
        valkey.reset_bill()
        for call in (lambda: check(codes, "000000"), lambda: send(codes)):
            with pytest.raises(VerificationLimited):
                await call()
        assert valkey.bill().calls == 0
        world.manual.advance(60)
        assert not await check(codes, "000000")
        assert valkey.bill().calls == 1


async def test_a_release_lets_a_refused_client_in_again(clock: ManualClock) -> None:
    async with make_world(None, clock, verification_client_rate="1/hour") as world:
        codes = Codes(world.runtime.store, world.runtime.settings, world.clock)
        sending = await send(codes)
        with pytest.raises(VerificationLimited):
            await check(codes, "000000")
        await codes.release("app", EMAIL, CLIENT, sending.token, is_counted=False)
        assert not await check(codes, "000000")


@pytest.mark.parametrize("stop_at", [1, 2])
@pytest.mark.parametrize("call", ["send", "release", "right", "wrong", "unknown"])
async def test_a_script_that_stops_at_any_write_is_finished_by_its_repeat(
    world: World, codes: Codes, wire: Wire, call: str, stop_at: int
) -> None:
    """Each has two writes. What is left has a time to live, and the repeat answers what the call would have."""
    made = await send(codes)
    world.manual.advance(60)
    before = await state(world)
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "send": lambda: send(codes),
        "release": lambda: codes.release("app", EMAIL, CLIENT, made.token, is_counted=False),
        "right": lambda: check(codes, made.code),
        "wrong": lambda: check(codes, wrong(made.code)),
        "unknown": lambda: codes.check("app", "bob@example.com", CLIENT, made.code),
    }
    wire.stop_at = stop_at
    with pytest.raises(StoreScriptError):
        await calls[call]()
    wire.stop_at = 0
    assert (await state(world) == before) == (stop_at == 1)
    assert all([int(await world.raw("PTTL", key)) > 0 for key in await state(world)])
    answers = {"send": "made", "release": "set" if stop_at == 1 else "stale", "right": "right"}
    assert (await wire.again())[0] == answers.get(call, "wrong")
    assert await check(codes, made.code) == (call in ("wrong", "unknown")), "a right code is right once"


async def test_a_late_copy_of_a_send_makes_no_code(world: World, codes: Codes, wire: Wire) -> None:
    await send(codes)
    held_back = wire.sent
    world.manual.advance(600)
    await send(codes)
    world.manual.advance(60)
    before, wire.sent = await state(world), held_back
    assert (await wire.again(lease_now=str(world.manual.true_now)))[0] == "late"
    assert await state(world) == before


async def test_a_process_with_a_slow_clock_sends_codes_all_the_same(world: World, codes: Codes) -> None:
    world.manual.skew = -3_600_000
    assert await check(codes, (await send(codes)).code)


async def test_the_life_of_a_code_goes_by_the_stores_clock(world: World, codes: Codes) -> None:
    made = await send(codes)
    world.manual.skew = -3_600_000
    world.manual.advance(600)
    assert not await check(codes, made.code)


async def test_an_address_is_blocked_by_its_domain_and_those_above_it(world: World, codes: Codes) -> None:
    await codes.block({"example.com": True})
    names = read_mailbox("ada@mail.example.com").names
    before = await state(world)
    with pytest.raises(AddressBlocked):
        await codes.send("app", "ada@mail.example.com", CLIENT, names)
    assert await state(world) == before


async def test_known_and_unknown_addresses_cost_the_same_calls_and_commands(valkey: RunningServer) -> None:
    counted: dict[str, set[tuple[int, int]]] = {"send a verification code": set(), "try a verification code": set()}
    async with make_world(valkey, SystemClock()) as world:
        codes = Codes(world.runtime.store, world.runtime.settings, world.clock)
        known = await send(codes)
        for _ in range(5):
            await check(codes, wrong(known.code))
        record = codes.keys.codes("app", email_tag(world.runtime.settings.signing_key, "app", EMAIL))
        text: str = await world.raw("GET", record)
        await world.raw("SET", record, text.replace(text.split("|")[5], "1000000000000"))  # long ago

        def count(name: str) -> None:
            bill = valkey.bill()
            counted[name].add((bill.calls, bill.billed))
            valkey.reset_bill()

        valkey.reset_bill()
        fresh = await send(codes)  # known
        count("send a verification code")
        await codes.send("app", "bob@example.com", CLIENT, NAMES)  # unknown
        count("send a verification code")
        for email, code in (
            (EMAIL, wrong(fresh.code)), (EMAIL, fresh.code), (EMAIL, fresh.code), ("eve@example.com", fresh.code),
        ):  # fmt: skip
            await codes.check("app", email, CLIENT, code)
            count("try a verification code")
        await codes.release("app", EMAIL, CLIENT, fresh.token, is_counted=False)
        bill = valkey.bill()
        counted["take back a code whose mail was not sent"] = {(bill.calls, bill.billed)}
    assert counted == {name: {COSTS.get(name)} for name in counted}


@pytest.mark.parametrize("tries", [50, pytest.param(5000, marks=[pytest.mark.exhaustive, pytest.mark.timeout(600)])])
async def test_concurrent_guesses_never_exceed_five_evaluations_of_a_code(valkey: RunningServer, tries: int) -> None:
    async with make_world(valkey, SystemClock(), verification_client_rate="off", **PATIENT) as world:
        codes = Codes(world.runtime.store, world.runtime.settings, world.clock)
        made = await send(codes)
        answers = await at_once(tries, lambda number: check(codes, wrong(made.code, 1 + number)))
        assert not any(answers)
        (record,) = [text for key, text in (await state(world)).items() if ":v:" in key]
        assert len(record.split("|")[3].split(",")) == CODE_TRIES
        assert not await check(codes, made.code), "the right one comes too late"


@pytest.mark.parametrize("tries", [50, pytest.param(5000, marks=[pytest.mark.exhaustive, pytest.mark.timeout(600)])])
async def test_a_code_is_right_for_one_of_many_concurrent_checks(valkey: RunningServer, tries: int) -> None:
    async with make_world(valkey, SystemClock(), verification_client_rate="off", **PATIENT) as world:
        codes = Codes(world.runtime.store, world.runtime.settings, world.clock)
        made = await send(codes)
        answers = await at_once(tries, lambda _: check(codes, made.code))
        assert answers.count(True) == 1
        assert not any(await at_once(50, lambda _: check(codes, made.code)))


async def test_one_of_many_concurrent_sends_makes_a_code(valkey: RunningServer) -> None:
    async with make_world(valkey, SystemClock(), **PATIENT) as world:
        codes = Codes(world.runtime.store, world.runtime.settings, world.clock)
        sent = await asyncio.gather(*(send(codes) for _ in range(20)), return_exceptions=True)
        made = [one for one in sent if isinstance(one, Sending)]
        assert len(made) == 1 and all(isinstance(one, VerificationLimited) for one in sent if one not in made)
        assert await check(codes, made[0].code)
