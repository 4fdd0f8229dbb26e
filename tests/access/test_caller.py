"""What a credential allows, decided without the store."""

import pytest

from shared.access.caller import Caller, Role
from shared.access.errors import NotPermitted, ScopeMissing
from shared.access.scope import ALL, OF_USERS, Scope
from shared.errors import BatchNotFound, JobNotFound

OF_ONE_JOB = Caller(Role.APPLICATION, "app", "ada", frozenset({Scope.READ}), only="job_1")
OF_ONE_BATCH = Caller(Role.APPLICATION, "app", "ada", frozenset({Scope.READ}), only="bat_1")


@pytest.mark.parametrize("scope", Scope)
def test_a_missing_scope_is_named(scope: Scope) -> None:
    with pytest.raises(ScopeMissing) as refused:
        Caller(Role.APPLICATION, "app", scopes=ALL - {scope}).require(scope, {"job_id": "job_1"})
    assert refused.value.scope == scope
    Caller(Role.APPLICATION, "app", scopes=frozenset({scope})).require(scope, {"job_id": "job_1"})


def test_no_user_may_operate() -> None:
    assert {Scope.READ, Scope.SUBMIT, Scope.CANCEL} == OF_USERS


def test_a_token_of_one_job_reaches_that_job_alone() -> None:
    OF_ONE_JOB.require(Scope.READ, {"job_id": "job_1"})
    for other in ("job_2", "job_10", "JOB_1", "job_1 ", ""):
        with pytest.raises(JobNotFound):
            OF_ONE_JOB.require(Scope.READ, {"job_id": other})
    with pytest.raises(BatchNotFound):
        OF_ONE_JOB.require(Scope.READ, {"batch_id": "bat_1"})
    with pytest.raises(NotPermitted):
        OF_ONE_JOB.require(Scope.READ, {})


def test_a_token_of_one_batch_reaches_that_batch_and_its_jobs_alone() -> None:
    OF_ONE_BATCH.require(Scope.READ, {"batch_id": "bat_1"})
    OF_ONE_BATCH.require(Scope.READ, {"job_id": "bat_1_2"})
    for other in ("bat_10_2", "bat_2_1", "job_1"):
        with pytest.raises(JobNotFound):
            OF_ONE_BATCH.require(Scope.READ, {"job_id": other})
    for other in ("bat_10", "bat_1_2", "bat_2"):
        with pytest.raises(BatchNotFound):
            OF_ONE_BATCH.require(Scope.READ, {"batch_id": other})
    with pytest.raises(NotPermitted):
        OF_ONE_BATCH.require(Scope.READ, {})
