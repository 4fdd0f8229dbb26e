"""What a start says of values that are nearly right: it names the part at fault, and what to do."""

import base64
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from shared.config.credentials import fault_of_key, fault_of_secret
from shared.config.store import faults_of_memory
from shared.startup import cautions, load_settings
from tests.config.production import BUCKET, GOOD, faults
from tests.project import ROOT


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("changeme-now", "change-me"),
        ("CHANGE_ME", "change-me"),
        ("<openssl rand -hex 32>", "<...>"),
        ("r8_<token>", "<...>"),
        ("xxxxxxxxxxxxxxxx", "xxx"),
        ("r8_XXXXXXXX", "xxx"),
        ("r8_...", "..."),
        ("r8_your-token", "your"),
        ("the-Example-token", "example"),
        ("todo: ask ops", "todo"),
        ("dev-secret", "a word such as secret"),
        ("my_test_key", "a word such as secret"),
    ],
)
def test_a_placeholder_is_refused_with_what_it_looks_like(text: str, shown: str) -> None:
    assert fault_of_secret(text) == fault_of_key(text) == f"is a placeholder ({shown})"


@pytest.mark.parametrize(
    "text",
    [
        "aXxXb0f1e2d3c4b5a697",
        "devTODOa0b1c2d3e4f5xxx",
        "a1.todomvc.b2c3d4e5f6",
        "dev0f1e2d3c4b5a69788",
        "K<9fj3>kd8Wq0sPz",
    ],
)
def test_a_real_token_with_such_letters_in_it_is_none(text: str) -> None:
    assert fault_of_key(text) is None


def test_random_tokens_are_no_placeholders() -> None:
    source = random.Random(13)
    for encode in (base64.b64encode, base64.urlsafe_b64encode, base64.b32encode, base64.b16encode):
        assert not [token for _ in range(5000) if fault_of_key(token := encode(source.randbytes(32)).decode())]


@pytest.mark.parametrize(
    ("name", "value", "lines"),
    [
        ("HOOKS", "{app:1}", ['HOOKS must be JSON, such as {"app": {"url": "https://<your application>/hook"}}']),
        (
            "HOOKS",
            '{"web": "https://acme.dev"}',
            ['HOOKS: web: must be an object, such as {"app": {"url": "https://<your application>/hook"}}'],
        ),
        (
            "HOOKS",
            '{"app": {}}',
            ["HOOKS names app, which API_KEYS does not have; its names are: web, worker"],
        ),
        ("HOOKS", json.dumps({"9b1c7f0e2d3a4b5c6d7e": {}}), ["HOOKS has a key itself in the place of its name"]),
        ("KEY_WEIGHTS", "9b1c7f0e2d3a4b5c6d7e:2", ["KEY_WEIGHTS has a key itself in the place of its name"]),
        (
            "QUEUE_OPTIONS",
            '{"video": {"concurency": 4}}',
            [
                "QUEUE_OPTIONS: video.concurency: is not known; "
                "known are concurrency, retries, retry_delay, ttl, deadline"
            ],
        ),
        (
            "QUEUE_OPTIONS",
            '{"video": {"retries": -1}}',
            ["QUEUE_OPTIONS: video.retries: Input should be greater than or equal to 0"],
        ),
        ("QUEUE_OPTIONS", "[]", ['QUEUE_OPTIONS: must be an object, such as {"video": {"concurrency": 4}}']),
        (
            "REPLICATE_API_TOKEN",
            "Bearer r8_1a2b3c4d5e6f",
            ["REPLICATE_API_TOKEN begins with Bearer; set the token alone"],
        ),
        ("REPLICATE_API_TOKEN", "'r8_1a2b3c4d5e6f'", ["REPLICATE_API_TOKEN is in quotes; set it without them"]),
        (
            "UPSTASH_REDIS_REST_URL",
            "https://eu1-x.upstash.io:6379",
            ["UPSTASH_REDIS_REST_URL has the port 6379 of TCP clients; the REST URL has no port"],
        ),
        (
            "CRON_SECRET",
            GOOD["QUEUE_PROCESSOR_TOKEN"],
            ["QUEUE_PROCESSOR_TOKEN and CRON_SECRET must differ"],
        ),
        ("API_KEYS", "<name:key, several>", ["API_KEYS is a placeholder (<...>); write name:key[,name:key...]"]),
        ("API_KEYS", "todo-app:short", ["API_KEYS: key number 1 is shorter than 16 characters"]),
        ("API_KEYS", "web:a-todo-0f1e2d3c4b5a", ["API_KEYS: key number 1 is a placeholder (todo)"]),
    ],
)
def test_a_line_names_the_place_of_the_fault_and_the_remedy(
    environment: pytest.MonkeyPatch, name: str, value: str, lines: list[str]
) -> None:
    more = {"PRIORITY_POLICY": "fair"} if name == "KEY_WEIGHTS" else {}
    assert faults(environment, **{name: value}, **more) == lines


def test_a_name_in_json_that_may_be_a_key_is_not_shown(environment: pytest.MonkeyPatch) -> None:
    (line,) = faults(environment, HOOKS=json.dumps({"9b1c7f0e2d3a4b5c6d7e": "https"}))
    assert line.startswith("HOOKS: (a name): must be an object") and "9b1c" not in line


@pytest.mark.parametrize("missing", ["STORAGE_ACCESS_KEY_ID", "STORAGE_SECRET_ACCESS_KEY"])
def test_of_two_keys_of_a_bucket_the_missing_one_is_named(environment: pytest.MonkeyPatch, missing: str) -> None:
    others = {name: value for name, value in BUCKET.items() if name != missing}
    assert faults(environment, **others) == [f"{missing} is missing"]


def test_a_bucket_without_its_place_is_refused(environment: pytest.MonkeyPatch) -> None:
    others = {name: value for name, value in BUCKET.items() if name != "STORAGE_REGION"}
    (line,) = faults(environment, **others)
    assert line.startswith("STORAGE_ENDPOINT or STORAGE_REGION is missing")


def test_several_workers_in_memory_mode_get_the_remedy() -> None:
    (line,) = faults_of_memory(["uvicorn"], {"UVICORN_WORKERS": "2"})
    assert all(word in line for word in ("start one", "--workers", "UVICORN_WORKERS", "WEB_CONCURRENCY"))


def test_the_address_for_tcp_clients_in_the_file_gets_the_hint_too(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("REDIS_URL=rediss://default:CANARY@eu1-x.upstash.io:6379\n")
    environment.delenv("UPSTASH_REDIS_REST_URL")
    (line,) = faults(environment, SLUICE_ENV="development")
    assert line == "REDIS_URL is for TCP clients; set UPSTASH_REDIS_REST_URL to the REST URL, https://..."


def test_a_misspelt_setting_is_named_first_where_something_is_missing(environment: pytest.MonkeyPatch) -> None:
    environment.delenv("SIGNING_SECRET")
    lines = faults(environment, SIGNING_SECRT="b4c1d0e9f8a7b6c5d4e3", EDITOR="vi")
    assert lines == ["SIGNING_SECRT is no setting; SIGNING_SECRET is", "SIGNING_SECRET is missing"]


def test_oversights_that_stop_no_start_are_warned_of(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def warned() -> list[str]:
        return [caution.event for caution in cautions(load_settings())]

    assert warned() == []
    environment.delenv("PUBLIC_BASE_URL")
    assert warned() == ["no_public_base_url"]
    environment.setenv("USE_REDIS_FOR_TASKS", "false")
    assert warned() == ["memory_mode", "store_unused", "no_public_base_url"]
    (tmp_path / ".env").write_text("QUEUE_MAX_RETRYS=1\nUNRELATED=1\n")
    assert "env_file_unread" in warned()
    environment.setenv("SLUICE_ENV", "development")
    environment.setenv("OPERATOR_TOKEN", "changeme")
    assert warned() == ["store_unused", "unknown_setting", "placeholders"]


def test_each_caution_is_a_line_of_the_log_and_shows_no_value(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("SIGNING_SECRT=CANARY\nOPERATOR_TOKEN=changeme-CANARY\n")
    code = "import shared.runtime; shared.runtime.settings()"
    environ = {"PATH": os.defpath, "PYTHONPATH": str(ROOT), "SLUICE_ENV": "development", "USE_REDIS_FOR_TASKS": "false"}
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environ, capture_output=True, text=True, check=True
    )
    first, second, *_ = ran.stdout.splitlines()  # as development writes them, for people
    assert "unknown_setting" in first and "SIGNING_SECRT is no setting; SIGNING_SECRET is" in first
    assert "placeholders" in second and "OPERATOR_TOKEN" in second
    assert "CANARY" not in ran.stdout


def test_development_starts_with_the_examples_webhook_secret_and_uses_none(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("REPLICATE_WEBHOOK_SECRET=<whsec_..., from GET https://api.replicate.com/v1>\n")
    environment.setenv("SLUICE_ENV", "development")
    environment.delenv("REPLICATE_WEBHOOK_SECRET")
    loaded = load_settings()
    assert loaded.replicate_webhook_secrets == ()
    assert "REPLICATE_WEBHOOK_SECRET" in cautions(loaded)[0].consequence


def test_a_copied_example_names_its_placeholders(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text((ROOT / ".env.example").read_text())
    for name in GOOD:
        environment.delenv(name)
    lines = faults(environment, SLUICE_ENV="development")
    assert {"UPSTASH_REDIS_REST_URL", "API_KEYS"} <= {line.partition(" ")[0] for line in lines}
    assert all(" is a placeholder (<...>)" in line for line in lines), lines
    environment.setenv("SLUICE_ENV", "production")
    assert faults(environment)[0].startswith(".env was not read")
