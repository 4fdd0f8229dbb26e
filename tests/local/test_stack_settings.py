"""What the parts of a stack get as settings, and from whom."""

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from local.announcement import announcement
from local.configuration import Configuration, parse_arguments
from local.environment import REAL_PREFIX, Environment, given_settings, local_secrets
from local.ports import Urls
from shared.config.storage import StorageSettings
from shared.env_file import setting_names
from tests.local.stacks import sealed


@pytest.fixture
def no_settings(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in setting_names():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SLUICE_ENV", "test")
    return monkeypatch


PORTS = {"functions": 1, "store": 2, "provider": 3}


def test_with_a_replicate_token_the_real_provider_is_used_without_a_made_up_webhook_secret(
    no_settings: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    no_settings.setenv("REPLICATE_API_TOKEN", "r8_0123456789abcdef")
    plan = Environment(Configuration(data_dir=tmp_path))
    variables = plan.variables(PORTS)
    assert not plan.needs_simulator
    assert variables["REPLICATE_API_TOKEN"] == "r8_0123456789abcdef"
    assert "REPLICATE_BASE_URL" not in variables
    assert "REPLICATE_WEBHOOK_SECRET" not in variables


def test_no_job_moves_between_the_simulator_and_the_real_provider(
    no_settings: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    simulated = Environment(Configuration(data_dir=tmp_path)).variables(PORTS)
    no_settings.setenv("REPLICATE_API_TOKEN", "r8_0123456789abcdef")
    real = Environment(Configuration(data_dir=tmp_path)).variables(PORTS)
    assert "QUEUE_PREFIX" not in simulated and real["QUEUE_PREFIX"] == REAL_PREFIX
    no_settings.setenv("QUEUE_PREFIX", "mine")
    assert Environment(Configuration(data_dir=tmp_path)).variables(PORTS)["QUEUE_PREFIX"] == "mine"


def test_each_api_key_is_announced_with_its_name(tmp_path: Path) -> None:
    environment = {"API_KEYS": "app:0123456789abcdef, batch:fedcba9876543210", "OPERATOR_TOKEN": "o"}
    urls = Urls("http://127.0.0.1:1", "http://127.0.0.1:2", "http://127.0.0.1:3/v1")
    printed = announcement(urls, Configuration(data_dir=tmp_path), environment)
    assert "  API key    app: 0123456789abcdef\n             batch: fedcba9876543210\n" in printed


def test_the_developers_settings_win_and_placeholders_do_not_count(
    no_settings: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    no_settings.setenv("API_KEYS", "mine:0123456789abcdef")
    no_settings.setenv("KV_REST_API_URL", "https://loud-cat-1.upstash.io")
    no_settings.setenv("REPLICATE_API_TOKEN", "r8_your-token")
    no_settings.setenv("MAX_CONCURRENT_TASKS", "7")
    plan = Environment(Configuration(data_dir=tmp_path))
    variables = plan.variables(PORTS)
    assert (plan.needs_store, plan.needs_simulator) == (False, True)
    assert (variables["API_KEYS"], variables["MAX_CONCURRENT_TASKS"]) == ("mine:0123456789abcdef", "7")
    assert "UPSTASH_REDIS_REST_URL" not in variables
    assert variables["REPLICATE_BASE_URL"] == "http://127.0.0.1:3/v1"


def test_results_are_stored_in_the_data_folder_and_may_come_from_this_machine(
    no_settings: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    variables = Environment(Configuration(data_dir=tmp_path)).variables(PORTS)
    assert (variables["STORAGE_URL"], variables["ALLOW_LOOPBACK"]) == ((tmp_path / "storage").as_uri(), "true")
    assert Environment(Configuration(data_dir=tmp_path, fresh=True)).variables(PORTS)["STORAGE_URL"] == "memory://"
    no_settings.setenv("SLUICE_ENV", "production")
    assert "ALLOW_LOOPBACK" not in Environment(Configuration(data_dir=tmp_path)).variables(PORTS)
    assert "STORAGE_URL" not in Environment(Configuration(data_dir=tmp_path, fresh=True)).variables(PORTS)


def test_the_developers_bucket_and_keys_are_used_unless_the_stack_is_sealed(
    no_settings: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given = {
        "STORAGE_URL": "s3://todo-app-example/results", "AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "AKIA0000",
        "AWS_SECRET_ACCESS_KEY": "a/secret/with/xxx/in/it", "AWS_SESSION_TOKEN": "a-token", "AWS_PROFILE": "mine",
    }  # fmt: skip
    for name, value in given.items():
        no_settings.setenv(name, value)
    variables = Environment(Configuration(data_dir=tmp_path)).variables(PORTS)
    assert {name: variables[name] for name in given} == given
    with storage_settings(variables) as own:
        assert own.storage_region == "eu-west-1" and own.storage_keys == (
            "AKIA0000",
            "a/secret/with/xxx/in/it",
            "a-token",
        )
    in_seal = Environment(sealed(tmp_path)).variables(PORTS)
    assert {name for name in given if in_seal.get(name) == given[name]} == {"AWS_PROFILE"}


@contextmanager
def storage_settings(environ: dict[str, str]) -> Iterator[StorageSettings]:
    """Yields the storage settings of a child with this environment."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environ.items():
            patch.setenv(name, value)
        yield StorageSettings()


def test_the_environment_wins_over_the_env_file_which_only_development_reads(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("QUEUES=from-file:1\nLOG_LEVEL=DEBUG\nUNRELATED=1\n")
    assert given_settings({"QUEUES": "given:2"}, file) == {"QUEUES": "given:2", "LOG_LEVEL": "DEBUG"}
    assert given_settings({"SLUICE_ENV": "test"}, file) == {"SLUICE_ENV": "test"}


def test_only_the_owner_can_read_the_file_of_local_secrets(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "local.env"
    made = local_secrets(file)
    assert local_secrets(file) == made
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert local_secrets(None) != made


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["--tick", "inf"], "must be more than 0 seconds, and at most 86400"),
        (["--tick", "nan"], "must be more than 0 seconds, and at most 86400"),
        (["--data-dir", __file__], "is not a folder"),
        (["--data-dir", f"{__file__}/below"], "is not a folder"),
    ],
)
def test_a_wrong_argument_is_one_line_of_usage(
    capsys: pytest.CaptureFixture[str], arguments: list[str], fault: str
) -> None:
    with pytest.raises(SystemExit):
        parse_arguments(arguments)
    assert fault in capsys.readouterr().err
