"""How bench.peers counts and prints. It installs nothing here, and runs only Sluice."""

import json
import os
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import redis

from bench.cost import AT_ONCE, DESIGN, Bill, Load, budget
from bench.environment import ROOT
from bench.peers.catalogue import NODE_SOURCE, PEERS, SLUICE, Peer
from bench.peers.installing import REQUIREMENTS, sections
from bench.peers.monitor import Monitor, is_explained, read_line, read_statistics
from bench.peers.relay import Relay
from bench.peers.running import Child, PeerFailed
from bench.peers.scenario import DAY, TICK, Phase, Plan, Row, measure
from bench.peers.table import COUNTS, PROMISES, as_json, counts, notes, ordered, promises
from local.rest_server.engine import Engine
from shared.usage import prices as pricing


@pytest.mark.parametrize(
    ("line", "read"),
    [
        (b'+1795377020.533056 [0 unix:/tmp/x/engine.sock] "HELLO" "3"', (0, False, "hello", "3")),
        (b'+1795377021.931544 [3 lua] "SET" "k" "1"', (3, True, "set", "k")),
        (b'+1795377021.934628 [12 127.0.0.1:40020] "MULTI"', (12, False, "multi", "")),
        (b'+1795377021.934628 [1 [::1]:40020] "LPUSH" "l" "[2 lua] \\"SET\\""', (1, False, "lpush", "l")),
        (b"+OK", None),
        (b"", None),
    ],
)
def test_a_line_of_monitor_names_database_command_and_key(line: bytes, read: tuple[int, bool, str, str] | None) -> None:
    assert read_line(line) == read


def test_statistics_omit_the_commands_that_open_a_connection() -> None:
    said = {"cmdstat_set": {"calls": 2}, "cmdstat_client|setinfo": {"calls": 4}, "cmdstat_script|load": {"calls": 1}}
    assert read_statistics(said) == Counter({"set": 2, "script": 1})
    assert is_explained({}) and is_explained({"brpop": 2})
    assert not is_explained({"set": 1}) and not is_explained({"brpop": -1})


def test_monitor_counts_each_database_and_scripts_apart() -> None:
    with Engine() as engine, Monitor(engine.socket_path) as monitor:
        with redis.Redis(unix_socket_path=engine.socket_path, db=3) as client:
            client.eval("redis.call('SET', KEYS[1], '1') return redis.call('GET', KEYS[1])", 1, "k")
            first = monitor.counts(3)
            client.pipeline().set("a", 'with "quotes"\r\nand lines').set("b", "2").execute()
            second = monitor.counts(3) - first
        assert (first.outer, first.inner) == (Counter({"eval": 1}), Counter({"set": 1, "get": 1}))
        assert second.outer == Counter({"multi": 1, "set": 2, "exec": 1}) and second.commands == 4
        assert monitor.counts(0).commands == 0
        assert monitor.comparison() == (7, {})


def test_a_pipeline_is_one_round_trip() -> None:
    with Engine() as engine, Relay(engine.socket_path) as relay:
        with redis.Redis(port=relay.port) as client:
            client.ping()
            before = relay.trips
            for _ in range(3):
                client.set("k", "1")
            client.pipeline().set("a", "1").set("b", "2").execute()
            assert relay.trips - before == 4


def test_a_client_that_dies_is_reported_with_its_log_and_one_that_hangs_is_killed(tmp_path: Path) -> None:
    dying = Child([sys.executable, "-c", "raise SystemExit('no such module')"], {}, tmp_path / "dying.log", tmp_path)
    with pytest.raises(PeerFailed, match="no such module"):
        dying.order("put 1", time.monotonic() + 60)
    dying.stop()
    hanging = Child(["/bin/sh", "-c", "sleep 600 & wait"], {}, tmp_path / "hanging.log", tmp_path)
    with pytest.raises(PeerFailed, match="in time"):
        hanging.order("put 1", time.monotonic() + 0.5)
    hanging.stop()
    with pytest.raises(PeerFailed, match="ended with -9"):
        hanging.check()


ORPHANING = """
import os, sys, pathlib
from bench.peers.running import Child
here = pathlib.Path(sys.argv[1])
child = Child(["/bin/sh", "-c", "sleep 600 & echo = $$; wait"], {}, here / "log", here)
print(child._answers.get(timeout=10), flush=True)
os.kill(os.getpid(), 9)
"""


def test_children_end_with_a_bench_that_is_killed(tmp_path: Path) -> None:
    killed = subprocess.run(
        [sys.executable, "-c", ORPHANING, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    group, until = int(killed.stdout), time.monotonic() + 10
    with pytest.raises(ProcessLookupError):
        while time.monotonic() < until:
            os.killpg(group, 0)
            time.sleep(0.01)


def row(peer: Peer, outer: int, idle: int) -> Row:
    """Returns a row: fifty paced jobs of ``outer`` commands, half as many inside scripts, and a minute of ``idle``."""
    phases = {
        "paced": Phase(50 * outer, 25 * outer, 150, 50),
        "burst": Phase(200 * outer, 0, 400, 200),
        "idle": Phase(idle, 0, idle, 60 / 86_400),
    }
    return Row(peer, "1.2.3", phases)


def test_the_table_has_every_measured_row_including_those_before_sluice() -> None:
    prices = pricing.load()
    failed = Row(PEERS[1], failure="node and npm are not on PATH")
    rows = [row(SLUICE, 20, 5), failed, row(PEERS[0], 4, 0)]
    assert [one.peer.name for one in ordered(rows)] == [PEERS[0].name, "Sluice"]
    cells = counts(ordered(rows)[1], prices)
    # 30 commands a job: 30,000 a thousand jobs, at $0.20 per 100,000. 5 a minute: 7,200 a day, 216,000 a month.
    assert cells[2:] == ["20.0 + 10.0 = 30.0", "20.0 + 0.0 = 20.0", "3.0 / 2.0", "7,200", "$0.060", "$0.43"]
    assert counts(ordered(rows)[0], prices)[-3:] == ["none seen", "$0.012", "none seen"]
    assert len(cells) == len(COUNTS) and len(promises(rows[0])) == len(PROMISES)
    document = json.loads(json.dumps([as_json(one, prices) for one in rows]))
    assert document[0]["paced"] == {"outer": 20, "inner": 10, "round_trips": 3}
    assert document[0]["dollars_per_1000_jobs"] == pytest.approx(0.06)
    assert document[1]["failure"] == failed.failure
    noted = " ".join(notes(Plan(idle=10), prices))
    assert "10 s extrapolated" in noted and "timers slower" in noted and "cannot run over Upstash's REST API" in noted


def test_every_environment_is_pinned() -> None:
    listed = sections(REQUIREMENTS.read_text())
    assert set(listed) == {peer.environment for peer in PEERS} - {"node"}
    for name, requirements in listed.items():
        lines = requirements.splitlines()
        assert lines[0].startswith(name) and all("==" in line for line in lines), name
    pinned = json.loads((NODE_SOURCE / "package.json").read_text())["dependencies"]
    assert {peer.package for peer in PEERS if peer.environment == "node"} < set(pinned)
    assert all(version[0].isdigit() for version in pinned.values())


def test_there_is_a_database_for_every_queue() -> None:
    assert len({peer.name for peer in PEERS}) == len(PEERS) < 15


def test_sluice_costs_the_same_in_the_bench_as_in_the_budget() -> None:
    """A job that comes alone starts at its submit; an idle day costs the same as in bench.cost.

    Once a day a sweep forgets models too, for which it looks at the one of the jobs before.
    """
    costs, ticks = budget(DESIGN.read_text()), 45
    (measured,), (_, fewer), _ = measure([SLUICE], Plan(jobs=3, burst=8, idle=0, ticks=ticks))
    assert not measured.failure
    assert fewer == {}
    paced, burst, idle = (measured.phases[name] for name in ("paced", "burst", "idle"))
    assert (paced.trips, paced.commands) == (3 * costs[AT_ONCE].calls, costs[AT_ONCE].commands)
    assert burst.commands > paced.commands
    more = idle.commands - Bill(Load(0), costs, pricing.load()).idle / pricing.DAYS
    assert round(more * ticks * TICK / DAY) in (0, 2)


def test_no_datagram_is_lost_in_a_burst() -> None:
    """Each job reports its end in one datagram. The buffer must hold a default burst while no reader runs."""
    from bench.peers.running import BACKLOG

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ends:
        ends.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BACKLOG)
        ends.bind(("127.0.0.1", 0))
        ends.settimeout(5)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for _ in range(Plan.burst):
                sender.sendto(b"ended", ends.getsockname())
        for _ in range(Plan.burst):
            assert ends.recv(64) == b"ended"
