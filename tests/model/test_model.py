"""The queue's verbs agree with a plain model of them, under every fault of store, callers and providers.

The real scripts run on memory mode's engine. Every EVAL of any caller is judged: its reply must be the model's,
the whole store must be what the model says, and the invariants must hold. So the machine's rules may use single verbs
as well as the tick, the polls and the cancellations of production. See tests/model for the model, and its invariants
for what a fault excuses.
"""

from collections.abc import Iterator

import pytest
import structlog
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from tests.model.batches import BatchMachine
from tests.model.machine import QueueMachine
from tests.model.strategies import (
    DEPLOYMENTS,
)


@pytest.fixture
def quiet_logs() -> Iterator[None]:
    """Writes nothing to the log: the faults here would fill it."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    yield
    structlog.configure(**before)


def search(machine: type[RuleBasedStateMachine], examples: int) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            derandomize=True,
            stateful_step_count=30,
            max_examples=examples,
            phases=[Phase.explicit, Phase.reuse, Phase.generate],
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.usefixtures("quiet_logs")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("examples", [10, pytest.param(90, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_the_verbs_do_what_the_model_says_and_every_job_ends(name: str, examples: int) -> None:
    search(type("Machine", (QueueMachine,), {"deployment": DEPLOYMENTS[name]}), examples)


@pytest.mark.usefixtures("quiet_logs")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("examples", [10, pytest.param(60, marks=pytest.mark.exhaustive)])
def test_batches_and_their_jobs_send_one_event_each_time_they_end(examples: int) -> None:
    search(BatchMachine, examples)
