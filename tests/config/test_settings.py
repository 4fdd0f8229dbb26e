"""The settings that a deployment needs, and the mistakes in them that stop its start."""

from pathlib import Path
from typing import Any

import pytest

from shared.config.order import TIERS
from shared.config.settings import Settings
from shared.jobqueue.priority import TIER_POINTS
from shared.startup import SettingsError, load_settings
from tests.config.production import GOOD


def test_a_complete_production_deployment_starts(environment: pytest.MonkeyPatch) -> None:
    loaded = load_settings()
    assert loaded.environment == "production" and loaded.prefix == "sluice:production"
    assert loaded.callers == {"web": "9b1c7f0e2d3a4b5c6d7e", "worker": "0f1e2d3c4b5a69788796"}
    assert loaded.webhooks_wanted


@pytest.mark.parametrize("name", [n for n in GOOD if n not in ("SLUICE_ENV", "PUBLIC_BASE_URL")])
@pytest.mark.parametrize("value", [None, "", "changeme", "your-token-here", "<token>", "placeholder"])
def test_a_missing_or_placeholder_secret_stops_the_start_and_is_named(
    environment: pytest.MonkeyPatch, name: str, value: str | None
) -> None:
    if value is None:
        environment.delenv(name)
    else:
        environment.setenv(name, value)
    with pytest.raises(SettingsError, match=name):
        load_settings()


def test_no_message_shows_a_value(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("QUEUE_PROCESSOR_TOKEN", "changeme-CANARY")
    environment.setenv("MAX_USER_TASKS", "CANARY")
    environment.setenv("API_KEYS", "web:CANARY")
    with pytest.raises(SettingsError) as raised:
        load_settings()
    assert "CANARY" not in str(raised.value) and "MAX_USER_TASKS" in str(raised.value)
    assert "CANARY" not in repr(raised.value.__context__)


def test_a_deployment_that_names_no_environment_is_production(environment: pytest.MonkeyPatch) -> None:
    environment.delenv("SLUICE_ENV")
    assert load_settings().environment == "production"


def test_the_names_of_vercels_upstash_integration_are_understood(environment: pytest.MonkeyPatch) -> None:
    for name, alias in (
        ("UPSTASH_REDIS_REST_URL", "KV_REST_API_URL"),
        ("UPSTASH_REDIS_REST_TOKEN", "KV_REST_API_TOKEN"),
    ):
        environment.setenv(alias, GOOD[name])
        environment.delenv(name)
    assert load_settings().upstash_redis_rest_url == GOOD["UPSTASH_REDIS_REST_URL"]


def test_vercel_provides_the_public_address_and_the_environment(environment: pytest.MonkeyPatch) -> None:
    environment.delenv("PUBLIC_BASE_URL")
    environment.delenv("SLUICE_ENV")
    environment.setenv("VERCEL_URL", "sluice-git-x.vercel.app")
    environment.setenv("VERCEL_PROJECT_PRODUCTION_URL", "sluice.vercel.app")
    environment.setenv("VERCEL_ENV", "preview")
    assert load_settings().public_base_url == "https://sluice-git-x.vercel.app"
    assert load_settings().prefix == "sluice:preview"
    environment.setenv("VERCEL_ENV", "production")
    assert load_settings().public_base_url == "https://sluice.vercel.app"


def test_a_dotenv_file_is_read_in_development_only(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("MAX_USER_TASKS=7\n")
    assert load_settings().max_user_tasks == 3
    environment.setenv("SLUICE_ENV", "development")
    assert load_settings().max_user_tasks == 7


@pytest.mark.parametrize("platform", ["VERCEL", "AWS_LAMBDA_FUNCTION_NAME"])
def test_memory_mode_refuses_to_run_on_a_platform(environment: pytest.MonkeyPatch, platform: str) -> None:
    environment.setenv("USE_REDIS_FOR_TASKS", "false")
    assert load_settings().storage_mode == "memory"
    environment.setenv(platform, "1")
    with pytest.raises(SettingsError, match="USE_REDIS_FOR_TASKS"):
        load_settings()


@pytest.mark.parametrize("name", ["ENVIRONMENT", "environment", "VERCEL_TARGET_ENV"])
def test_no_variable_of_another_name_switches_to_development(environment: pytest.MonkeyPatch, name: str) -> None:
    environment.delenv("SLUICE_ENV")
    environment.setenv(name, "development")
    assert load_settings().sluice_env == "production"


@pytest.mark.parametrize("environment_name", ["development", "test"])
@pytest.mark.parametrize("platform", ["VERCEL", "AWS_LAMBDA_FUNCTION_NAME"])
def test_development_is_refused_on_a_platform(
    environment: pytest.MonkeyPatch, environment_name: str, platform: str
) -> None:
    environment.setenv("SLUICE_ENV", environment_name)
    environment.setenv(platform, "1")
    with pytest.raises(SettingsError, match="SLUICE_ENV"):
        load_settings()


def test_blanks_and_newlines_around_a_secret_are_not_part_of_it(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("REPLICATE_API_TOKEN", " r8_1a2b3c4d5e6f7a8b9c\n")
    token = load_settings().replicate_api_token
    assert token is not None and token.get_secret_value() == "r8_1a2b3c4d5e6f7a8b9c"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("API_KEYS", "just-one-key"),
        ("API_KEYS", "a b:0f1e2d3c4b5a69788796"),
        ("API_KEYS", "a:0f1e2d3c4b5a69788796,b:0f1e2d3c4b5a69788796"),
        ("API_KEYS", "a:short"),
        ("CRON_SECRET", GOOD["QUEUE_PROCESSOR_TOKEN"]),
        ("QUEUES", "video:2"),
        ("QUEUES", "Not A Name:2"),
        ("QUEUES", "image:0"),
        ("QUEUES", "image:many"),
        ("QUEUES", ",".join(f"q{n}" for n in range(19))),
        ("UPSTASH_REDIS_REST_URL", "rediss://default:pw@eu1-good-12345.upstash.io:6379"),
        ("REPLICATE_WEBHOOK_SECRET", "whsec_!!!!"),
        ("QUEUE_PREFIX", "with space"),
        ("TIMING_SCALE", "0.5"),
        ("SIGNING_SECRET", "short"),
        ("QUEUE_PROCESSOR_TOKEN", "short"),
        ("REPLICATE_API_TOKEN", "r8_t\u00f6ken-of-some-length"),
        ("API_KEYS", "a:0f1e2d3c4b5a69788796,a:9b1c7f0e2d3a4b5c6d7e"),
        ("LEASE", "inf"),
        ("PRIORITY_SECONDS_PER_POINT", "1e10"),
    ],
)
def test_a_malformed_setting_stops_the_start_and_is_named(
    environment: pytest.MonkeyPatch, name: str, value: str
) -> None:
    environment.setenv(name, value)
    with pytest.raises(SettingsError, match=name):
        load_settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PROVIDERS", "replicate,replicate"),
        ("PROVIDERS", "unknown"),
        ("PROVIDER_RATES", "replicate:0"),
        ("PROVIDER_RATES", "replicate:0.001"),
        ("PROVIDER_RATES", "replicate:60001"),
        ("PROVIDER_RATES", "unknown:5"),
        ("PROVIDER_RATES", "replicate:5,replicate:6"),
        ("PROVIDER_CONCURRENCY", "replicate:0"),
        ("PROVIDER_CONCURRENCY", "replicate:1.5"),
        ("TIER_WEIGHTS", "pro:1,pro:2"),
        ("TIER_WEIGHTS", "gold:1"),
        ("KEY_WEIGHTS", "app:0"),
        ("KEY_WEIGHTS", "app:1,app:2"),
        ("KEY_WEIGHTS", "nobody:1"),
        ("QUEUE_OPTIONS", '{"nowhere": {}}'),
        ("QUEUE_OPTIONS", '{"video": {"retries": -1}}'),
        ("QUEUE_OPTIONS", '{"video": {"deadline": 1801}}'),
        ("QUEUE_OPTIONS", '{"video": {"colour": 1}}'),
        ("QUEUE_OPTIONS", "video"),
        ("QUEUE_RETRY_DELAY", "86400001"),
        ("MAX_QUEUE_SIZE", "1000000001"),
        ("MAX_USER_QUEUED", "1000000001"),
        ("CIRCUIT_FAILURES", "1000001"),
        ("QUEUE_TTL", "0"),
    ],
)
def test_impossible_flow_control_stops_the_start_and_is_named(
    environment: pytest.MonkeyPatch, name: str, value: str
) -> None:
    environment.setenv(name, value)
    with pytest.raises(SettingsError, match=name):
        load_settings()


def test_a_queue_has_its_own_options(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("QUEUE_OPTIONS", '{"video": {"concurrency": 4, "retries": 0, "ttl": 60, "deadline": 900}}')
    video, storyboard = load_settings().queue_list
    assert (video.concurrency, video.max_attempts, video.ttl, video.deadline) == (4, 1, 60, 900)
    assert (storyboard.max_attempts, storyboard.ttl, storyboard.deadline) == (4, 86_400, 1800)


def test_wavespeeds_settings_are_checked_only_if_it_is_switched_on(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("PROVIDERS", "wavespeed")
    environment.delenv("REPLICATE_API_TOKEN")
    with pytest.raises(SettingsError, match="WAVESPEED_API_KEY is missing"):
        load_settings()
    environment.setenv("WAVESPEED_API_KEY", "ws-0123456789abcdef")
    environment.setenv("WAVESPEED_WEBHOOK_SECRET", "whsec_0123456789abcdef0123456789abcdef")
    assert load_settings().provider_names == ("wavespeed",)


def test_queues_are_numbered_in_the_order_in_which_they_were_added(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("QUEUES", "image:2, audio")
    environment.setenv("QUEUE_CONCURRENCY", "4")
    assert [(q.name, q.number, q.concurrency) for q in load_settings().queue_list] == [
        ("video", 0, 4),
        ("storyboard", 1, 3),
        ("image", 2, 2),
        ("audio", 3, 4),
    ]


@pytest.mark.parametrize(
    ("public", "replicate", "wanted"),
    [
        ("https://sluice.acme.dev", "https://api.replicate.com/v1", True),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8090/v1", True),
        ("http://127.0.0.1:8000", "https://api.replicate.com/v1", False),
        ("http://sluice.acme.dev", "http://127.0.0.1:8090/v1", False),
        (None, "https://api.replicate.com/v1", False),
    ],
)
def test_a_provider_gets_a_webhook_url_only_if_it_can_call_it(public: str | None, replicate: str, wanted: bool) -> None:
    values: dict[str, Any] = {"sluice_env": "test", "public_base_url": public, "replicate_base_url": replicate}
    assert Settings(**values).webhooks_wanted is wanted


def test_every_tier_has_points_and_a_weight() -> None:
    assert set(TIER_POINTS) == set(TIERS) == set(Settings(sluice_env="test").weights)
