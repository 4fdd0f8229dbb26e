"""Values that people really set, and that a start refuses."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from shared.config.store import workers_of
from shared.startup import load_settings
from tests.config.production import BUCKET, GOOD, faults
from tests.project import ROOT

KEY = "9b1c7f0e2d3a4b5c6d7e"


@pytest.mark.parametrize(
    "name", ["UPSTASH_REDIS_REST_URL", "PUBLIC_BASE_URL", "REPLICATE_BASE_URL", "QSTASH_URL", "WAVESPEED_BASE_URL"]
)
@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ("acme.dev", "must begin with https://"),
        ("acme.dev/path", "must begin with https://"),
        ("<from the console>", "is a placeholder (<...>)"),
        ("https://<your-deployment>", "is a placeholder (<...>)"),
        ('"https://acme.dev"', "is in quotes; set it without them"),
        ("ftp://acme.dev", "must begin with https://, and not with ftp://"),
        ("https://", "names no host"),
        ("https:// acme.dev", "names no host"),
        ("https://[acme", "is not an address"),
        ("https://acme.dev:port", "is not an address"),
        ("https://user:password@acme.dev", "must not hold a user name or a password"),
        ("https://acme.dev?a=b", "must end with a path, without ? and #"),
        ("http://acme.dev", "must be https, since it would send secrets without encryption"),
        ("http://127.0.0.1.acme.dev", "must be https, since it would send secrets without encryption"),
    ],
)
def test_the_address_of_a_service_is_checked(
    environment: pytest.MonkeyPatch, name: str, value: str, fault: str
) -> None:
    more = {"PROVIDERS": "replicate,wavespeed", "WAVESPEED_API_KEY": "ws-0123456789abcdef"}
    more["WAVESPEED_WEBHOOK_SECRET"] = "whsec_0123456789abcdef0123456789abcdef"
    assert f"{name} {fault}" in faults(environment, **more, **{name: value})


@pytest.mark.parametrize("name", ["STORAGE_ENDPOINT", "STORAGE_PUBLIC_URL"])
def test_the_addresses_of_the_bucket_are_checked(environment: pytest.MonkeyPatch, name: str) -> None:
    assert faults(environment, **BUCKET, **{name: "r2.acme.dev"}) == [f"{name} must begin with https://"]


@pytest.mark.parametrize("url", ["http://127.0.0.1:8079", "http://localhost:8079/", "http://[::1]:8079"])
def test_http_on_this_machine_starts(environment: pytest.MonkeyPatch, url: str) -> None:
    environment.setenv("UPSTASH_REDIS_REST_URL", url)
    assert load_settings().upstash_redis_rest_url == url


@pytest.mark.parametrize("name", ["UPSTASH_REDIS_URL", "KV_URL", "REDIS_URL"])
def test_the_address_for_tcp_clients_alone_gets_a_hint(environment: pytest.MonkeyPatch, name: str) -> None:
    environment.delenv("UPSTASH_REDIS_REST_URL")
    lines = faults(environment, **{name: "rediss://default:CANARY@eu1-x.upstash.io:6379"})
    assert lines == [
        "UPSTASH_REDIS_REST_URL is missing",
        f"{name} is for TCP clients; set UPSTASH_REDIS_REST_URL to the REST URL, https://...",
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REPLICATE_API_TOKEN", "x"),
        ("UPSTASH_REDIS_REST_TOKEN", "A"),
        ("REPLICATE_WEBHOOK_SECRET", "whsec_QQ=="),
        ("QSTASH_CURRENT_SIGNING_KEY", "s"),
        ("OPERATOR_TOKEN", "o"),
    ],
)
def test_a_secret_of_one_byte_is_refused(environment: pytest.MonkeyPatch, name: str, value: str) -> None:
    assert [line for line in faults(environment, **{name: value}) if line.startswith(name)]


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (("OPERATOR_TOKEN", "QUEUE_PROCESSOR_TOKEN"), "QUEUE_PROCESSOR_TOKEN and OPERATOR_TOKEN must differ"),
        (("SIGNING_SECRET", "CRON_SECRET"), "SIGNING_SECRET and CRON_SECRET must differ"),
    ],
)
def test_secrets_of_two_roles_must_differ(environment: pytest.MonkeyPatch, names: tuple[str, str], shown: str) -> None:
    assert shown in faults(environment, **dict.fromkeys(names, "a0b1c2d3e4f5a6b7c8d9"))


@pytest.mark.parametrize(
    "name", ["SIGNING_SECRET", "QUEUE_PROCESSOR_TOKEN", "OPERATOR_TOKEN", "METRICS_TOKEN", "CRON_SECRET"]
)
def test_no_secret_of_the_deployment_is_an_api_key(environment: pytest.MonkeyPatch, name: str) -> None:
    assert faults(environment, **{name: KEY}) == [f"{name} and a key of API_KEYS must differ"]


@pytest.mark.parametrize("hosts", ["com", "a.dev, com", ".", "a..dev", "10.0.0.1", "https://a.dev", "*.a.dev"])
def test_a_whole_top_domain_is_no_host_of_results(environment: pytest.MonkeyPatch, hosts: str) -> None:
    assert any("RESULT_HOSTS" in line for line in faults(environment, RESULT_HOSTS=hosts))


@pytest.mark.parametrize("hosts", ["Files.Acme.dev", " files.acme.dev,, ", "files.acme.dev,"])
def test_hosts_of_results_may_have_capitals_and_empty_entries(environment: pytest.MonkeyPatch, hosts: str) -> None:
    environment.setenv("RESULT_HOSTS", hosts)
    assert load_settings().result_host_names == ("files.acme.dev",)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("QUEUES", "Render"),
        ("PROVIDERS", "Replicate!"),
        ("PROVIDER_RATES", "replicate=5"),
        ("PROVIDER_CONCURRENCY", "mine"),
        ("TIER_WEIGHTS", "gold:1"),
        ("KEY_WEIGHTS", "web:0"),
        ("QUEUE_PREFIX", "a b"),
    ],
)
def test_a_form_is_told_in_words(environment: pytest.MonkeyPatch, name: str, value: str) -> None:
    (line,) = faults(environment, **{name: value})
    assert line.startswith(f"{name}: must be ") and "pattern" not in line and value not in line


def test_a_short_secret_is_one_line(environment: pytest.MonkeyPatch) -> None:
    assert faults(environment, SIGNING_SECRET="x") == ["SIGNING_SECRET must have 16 characters or more"]


def test_an_alert_that_would_always_stand_is_refused_by_its_name(environment: pytest.MonkeyPatch) -> None:
    told = ["ALERT_THRESHOLDS has 0 for store_slow, which always stands; write off, or more"]
    assert faults(environment, ALERT_THRESHOLDS="dead_letters:5, store_slow:0.0") == told


@pytest.mark.parametrize("url", ["http://localhost:8000", "https://localhost", "https://127.0.0.1/x"])
def test_no_webhook_arrives_at_this_machine(environment: pytest.MonkeyPatch, url: str) -> None:
    told = "PUBLIC_BASE_URL names this machine, where no webhook of a provider arrives"
    assert faults(environment, PUBLIC_BASE_URL=url) == [told]


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("s3://My_Bucket/p", "STORAGE_URL: a bucket's name has 3 to 63"),
        ("s3://bucket/p?x=1", "STORAGE_URL must end with a path, without ? and #"),
        ("file://tmp/x", "STORAGE_URL needs three slashes: file:///folder"),
    ],
)
def test_the_place_of_files_is_checked(environment: pytest.MonkeyPatch, url: str, fault: str) -> None:
    (line,) = faults(environment, **(BUCKET | {"STORAGE_URL": url}))
    assert line.startswith(fault)


@pytest.mark.parametrize("keys", [KEY, f"{KEY}:web", f"web:short, {KEY}", f"web:{KEY},{KEY}:"])
def test_a_key_in_the_place_of_a_name_is_not_shown(environment: pytest.MonkeyPatch, keys: str) -> None:
    lines = faults(environment, API_KEYS=keys)
    assert lines and KEY not in "".join(lines)


def test_a_key_without_its_name_is_called_so(environment: pytest.MonkeyPatch) -> None:
    assert faults(environment, API_KEYS=KEY) == ["API_KEYS has a key without its name; write name:key[,name:key...]"]


def test_a_file_that_was_not_read_is_named_where_something_is_missing(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("SLUICE_ENV=development\nSIGNING_SECRET=b4c1d0e9f8a7b6c5d4e3\n")
    environment.delenv("SIGNING_SECRET")
    first, second = faults(environment)
    assert first.startswith(".env was not read") and "SLUICE_ENV=development uvicorn functions.index:app" in first
    assert second == "SIGNING_SECRET is missing"


def test_development_without_a_store_says_how_to_get_one(environment: pytest.MonkeyPatch) -> None:
    environment.delenv("UPSTASH_REDIS_REST_URL")
    (line,) = faults(environment, SLUICE_ENV="development")
    assert "make dev" in line and "USE_REDIS_FOR_TASKS=false" in line


@pytest.mark.parametrize(
    ("arguments", "environ", "count"),
    [
        (["uvicorn", "functions.index:app"], {}, 1),
        (["uvicorn", "functions.index:app", "--workers", "2"], {}, 2),
        (["uvicorn", "functions.index:app", "--workers=4"], {}, 4),
        (["gunicorn", "-w", "3", "functions.index:app"], {}, 3),
        (["gunicorn", "-w3", "functions.index:app"], {}, 3),
        (["uvicorn", "--workers", "1"], {"WEB_CONCURRENCY": "4"}, 1),
        (["uvicorn"], {"WEB_CONCURRENCY": "4"}, 4),
        (["uvicorn", "--workers"], {}, 1),
        (["uvicorn"], {"UVICORN_WORKERS": "2"}, 2),
        (["uvicorn"], {"UVICORN_WORKERS": "2", "WEB_CONCURRENCY": "1"}, 2),
        (["uvicorn", "--workers", "1"], {"UVICORN_WORKERS": "2"}, 1),
        (["gunicorn"], {"GUNICORN_CMD_ARGS": "--bind=:80 --workers=3"}, 3),
        (["gunicorn"], {"GUNICORN_CMD_ARGS": "'unbalanced -w 3"}, 3),
    ],
)
def test_the_workers_of_a_server_are_counted(arguments: list[str], environ: dict[str, str], count: int) -> None:
    assert workers_of(arguments, environ) == count


def started(folder: Path, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Returns how `uvicorn functions.index:app` ended in a folder; the folder's modules hide the installed ones."""
    environ = {"PATH": os.defpath, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", **variables}
    command = [sys.executable, "-m", "uvicorn", "functions.index:app", "--port", "0", *arguments]
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize(
    ("endpoint", "fault"),
    [
        ("https://0a1b.r2.cloudflarestorage.com/films", "STORAGE_ENDPOINT ends with a bucket"),
        ("https://0a1b.r2.cloudflarestorage.com/other", "STORAGE_ENDPOINT ends with a bucket"),
        ("https://s3.eu-west-1.amazonaws.com/films/", "STORAGE_ENDPOINT ends with a bucket"),
        ("https://films.0a1b.r2.cloudflarestorage.com", "STORAGE_ENDPOINT begins with the bucket"),
        ("https://films.s3.eu-west-1.amazonaws.com", "STORAGE_ENDPOINT begins with the bucket"),
        ("https://films.storage.googleapis.com", "STORAGE_ENDPOINT begins with the bucket"),
        ("https://storage.googleapis.com/films", "STORAGE_ENDPOINT ends with a bucket"),
        ("https://pub-0a1b2c3d.r2.dev", "STORAGE_ENDPOINT is a public address, for STORAGE_PUBLIC_URL"),
        ("0a1b.r2.cloudflarestorage.com", "STORAGE_ENDPOINT must begin with https://"),
        ("http://minio.acme.dev:9000", "STORAGE_ENDPOINT must be https"),
    ],
)
def test_an_endpoint_with_the_bucket_in_it_is_refused(
    environment: pytest.MonkeyPatch, endpoint: str, fault: str
) -> None:
    (line,) = faults(environment, **BUCKET, STORAGE_ENDPOINT=endpoint)
    assert line.startswith(fault)


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://r2.dev.acme.dev",
        "https://0a1b.r2.cloudflarestorage.com/",
        "https://x.supabase.co/storage/v1/s3",
        "https://films.acme.dev",
        "https://films.acme.dev:9000",
        "https://acme.dev/films",
    ],
)
def test_other_endpoints_start(environment: pytest.MonkeyPatch, endpoint: str) -> None:
    for name, value in {**BUCKET, "STORAGE_ENDPOINT": endpoint}.items():
        environment.setenv(name, value)
    assert load_settings().storage_endpoint == endpoint


def test_a_server_prints_each_fault_as_one_line_and_ends(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("SIGNING_SECRET=b4c1d0e9f8a7b6c5d4e3\n")
    missed = ("API_KEYS", "SIGNING_SECRET")
    ended = started(tmp_path, **{name: value for name, value in GOOD.items() if name not in missed})
    assert ended.returncode != 0
    lines = ended.stderr.strip().splitlines()
    assert [line.partition(": ")[0] for line in lines] == ["Sluice cannot start"] * 3, ended.stderr


def test_memory_mode_without_its_package_does_not_start_and_names_it(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as u\nfound = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'fakeredis' else found(name, *a)\n"
    )
    ended = started(tmp_path, **GOOD, USE_REDIS_FOR_TASKS="false")
    assert ended.returncode != 0
    assert ended.stderr.strip() == (
        "Sluice cannot start: USE_REDIS_FOR_TASKS=false needs a package: pip install 'fakeredis[lua]'"
    )


def test_memory_mode_is_warned_of_outside_development(tmp_path: Path) -> None:
    code = "import shared.runtime; shared.runtime.settings()"
    environ = {"PATH": os.defpath, "PYTHONPATH": str(ROOT), **GOOD, "USE_REDIS_FOR_TASKS": "false"}
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environ, capture_output=True, text=True, check=True
    )
    assert '"level": "warning"' in ran.stdout and "memory_mode" in ran.stdout
