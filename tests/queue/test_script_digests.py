"""Scripts go over the wire by their digest."""

import asyncio
from typing import Any

import pytest
from upstash_redis.errors import UpstashError

from local.rest_server.running import RunningServer
from shared.store import scripts as store_scripts
from shared.store.rest import RestStore
from shared.store.scripts import MAX_FORGOTTEN, Scripts
from tests.world import load_scripts, settings_for

UNKNOWN = UpstashError("NOSCRIPT No matching script. Please use EVAL.")


class Replica:
    """A store that knows the scripts that it was sent, unless it forgets them all."""

    def __init__(self, *, forgets: bool = False) -> None:
        self.sent: list[str] = []
        self._forgets = forgets
        self._known = False

    async def execute(self, command: list[str]) -> Any:
        self.sent.append(command[0])
        await asyncio.sleep(0)
        if command[0] == "EVALSHA" and not self._known:
            raise UNKNOWN
        self._known = not self._forgets
        return command[2:]


async def test_a_script_is_sent_whole_once() -> None:
    replica, scripts = Replica(), Scripts()
    for _ in range(3):
        assert await scripts.send(replica.execute, ["EVAL", "return 1", "1", "k"]) == ["1", "k"]
    assert replica.sent == ["EVALSHA", "EVAL", "EVALSHA", "EVALSHA"]


async def test_a_replica_that_never_knows_it_is_asked_a_few_times_and_no_more() -> None:
    replica, scripts = Replica(forgets=True), Scripts()
    for _ in range(MAX_FORGOTTEN + 3):
        await scripts.send(replica.execute, ["EVAL", "return 1", "0"])
    assert replica.sent == ["EVALSHA", "EVAL"] * (MAX_FORGOTTEN + 1) + ["EVAL", "EVAL"]


async def test_a_script_that_is_sent_whole_is_tried_by_its_digest_again_after_an_hour(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    replica, scripts = Replica(forgets=True), Scripts()
    for _ in range(MAX_FORGOTTEN + 2):
        await scripts.send(replica.execute, ["EVAL", "return 1", "0"])
    assert replica.sent[-1] == "EVAL" and replica.sent[-2] == "EVAL"
    replica.sent.clear()
    monkeypatch.setattr(store_scripts, "HOUR", -1.0)
    await scripts.send(replica.execute, ["EVAL", "return 1", "0"])
    assert replica.sent == ["EVALSHA", "EVAL"]


@pytest.mark.parametrize(
    "text", ["NOSCRIPT No matching script.", "ERR NOSCRIPT No matching script.", "noscript: unknown", "NOSCRIPT"]
)
async def test_each_form_of_the_error_means_that_the_store_does_not_know_the_script(text: str) -> None:
    sent: list[str] = []

    async def execute(command: list[str]) -> None:
        sent.append(command[0])
        if command[0] == "EVALSHA":
            raise UpstashError(text)

    await Scripts().send(execute, ["EVAL", "return 1", "0"])
    assert sent == ["EVALSHA", "EVAL"]


async def test_first_calls_at_the_same_time_prove_no_replica() -> None:
    replica, scripts = Replica(), Scripts()
    await asyncio.gather(*(scripts.send(replica.execute, ["EVAL", "return 1", "0"]) for _ in range(10)))
    replica.sent.clear()
    await scripts.send(replica.execute, ["EVAL", "return 1", "0"])
    assert replica.sent == ["EVALSHA"]


@pytest.mark.parametrize(
    "text",
    ["ERR Error running script: NOSCRIPT is what the script says", "Error running script: NOSCRIPT", "NOSCRIPTS"],
)
async def test_another_error_is_no_reason_to_send_it_again(text: str) -> None:
    async def fails(command: list[str]) -> None:
        raise UpstashError(text)

    with pytest.raises(UpstashError):
        await Scripts().send(fails, ["EVAL", "return 1", "0"])


async def test_a_plain_command_goes_as_it_is() -> None:
    replica = Replica()
    await Scripts().send(replica.execute, ["GET", "k"])
    assert replica.sent == ["GET"]


async def test_a_script_that_the_store_knows_costs_no_more_and_weighs_less(valkey: RunningServer) -> None:
    valkey.clear_faults()
    script = f"-- {'x' * 20_000}\nreturn redis.call('GET', KEYS[1])"
    first, second = RestStore(settings_for(valkey)), RestStore(settings_for(valkey))
    await first.execute("EVAL", script, "1", "k")
    valkey.reset_bill()
    await second.execute("EVAL", script, "1", "k")
    bill = valkey.bill()
    assert (bill.calls, bill.outer, bill.inner) == (1, 1, 1)
    valkey.ask("SCRIPT", "FLUSH")
    valkey.reset_bill()
    await second.execute("EVAL", script, "1", "k")
    assert valkey.bill().calls == 2
    await first.close()
    await second.close()
    load_scripts(valkey)
