"""``make setup-replicate`` and ``make schedule``: what they request, write and never print."""

from pathlib import Path

import pytest
import respx
from httpx import ConnectError, Response

from local import schedule_qstash, setup_replicate
from local.envfile import write

TOKEN, SECRET = "r8_token_of_the_account", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
REPLICATE, QSTASH = "https://api.replicate.com/v1", "https://qstash.upstash.io/v2"
ADDRESS = "https://sluice.example.org"


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REPLICATE_API_TOKEN", "REPLICATE_BASE_URL", "QSTASH_TOKEN", "QSTASH_URL", "PUBLIC_BASE_URL",
                 "SLUICE_ENV", "VERCEL_AUTOMATION_BYPASS_SECRET"):  # fmt: skip
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def env_file(tmp_path: Path) -> Path:
    path = tmp_path / ".env"
    path.write_text(f"# mine\nREPLICATE_API_TOKEN={TOKEN}\nREPLICATE_WEBHOOK_SECRET=<whsec_...>\nQSTASH_TOKEN=qt\n")
    return path


def test_the_webhook_secret_is_written_to_the_file_only(
    env_file: Path, respx_mock: respx.MockRouter, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = respx_mock.get(f"{REPLICATE}/account").mock(Response(200, json={"username": "ada"}))
    respx_mock.get(f"{REPLICATE}/webhooks/default/secret").mock(Response(200, json={"key": SECRET}))
    assert setup_replicate.main(env_file) == 0
    assert asked.calls[0].request.headers["authorization"] == f"Bearer {TOKEN}"
    assert env_file.read_text().splitlines()[:3] == [
        "# mine", f"REPLICATE_API_TOKEN={TOKEN}", f"REPLICATE_WEBHOOK_SECRET={SECRET}",
    ]  # fmt: skip
    assert env_file.stat().st_mode & 0o777 == 0o600
    printed = capsys.readouterr()
    assert "ada" in printed.out and SECRET not in printed.out + printed.err


@pytest.mark.parametrize(
    ("account", "secret"),
    [
        (Response(401), Response(200, json={"key": SECRET})),
        (Response(500), Response(200, json={"key": SECRET})),
        (Response(200, json={}), Response(200, json={"key": "no secret"})),
        (Response(200, json={}), Response(200, text="<html>")),
        (Response(200, json={}), Response(404)),
    ],
)
def test_after_any_failure_the_file_is_unchanged(
    env_file: Path, respx_mock: respx.MockRouter, account: Response, secret: Response,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    respx_mock.get(f"{REPLICATE}/account").mock(account)
    respx_mock.get(f"{REPLICATE}/webhooks/default/secret").mock(secret)
    before = env_file.read_text()
    assert setup_replicate.main(env_file) == 1
    assert env_file.read_text() == before and TOKEN not in capsys.readouterr().err


def test_a_missing_token_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert setup_replicate.main(tmp_path / "none") == 1
    assert "REPLICATE_API_TOKEN" in capsys.readouterr().err


def test_a_placeholder_is_sent_to_nobody(
    tmp_path: Path, respx_mock: respx.MockRouter, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REPLICATE_API_TOKEN", "<r8_...>")
    monkeypatch.setenv("QSTASH_TOKEN", "your-token")
    monkeypatch.setenv("PUBLIC_BASE_URL", ADDRESS)
    assert setup_replicate.main(tmp_path / "none") == schedule_qstash.main([], tmp_path / "none") == 1
    assert not respx_mock.calls
    said = capsys.readouterr().err
    assert "REPLICATE_API_TOKEN is a placeholder" in said and "QSTASH_TOKEN is a placeholder" in said


def test_a_host_that_is_not_reached_is_named(
    env_file: Path, respx_mock: respx.MockRouter, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PUBLIC_BASE_URL", ADDRESS)
    respx_mock.get(f"{REPLICATE}/account").mock(side_effect=ConnectError("refused"))
    respx_mock.get(f"{QSTASH}/keys").mock(side_effect=ConnectError("refused"))
    assert setup_replicate.main(env_file) == schedule_qstash.main([], env_file) == 1
    said = capsys.readouterr().err
    assert "Replicate was not reached: api.replicate.com:443" in said
    assert "QStash was not reached: qstash.upstash.io:443" in said


def test_qstash_gets_a_schedule_of_every_minute_and_its_keys_are_kept(
    env_file: Path, respx_mock: respx.MockRouter, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PUBLIC_BASE_URL", ADDRESS)
    monkeypatch.setenv("VERCEL_AUTOMATION_BYPASS_SECRET", "b&d")
    respx_mock.get(f"{QSTASH}/keys").mock(Response(200, json={"current": "sig_a", "next": "sig_b"}))
    made = respx_mock.post(url__startswith=f"{QSTASH}/schedules/").mock(Response(200, json={"scheduleId": "s"}))
    assert schedule_qstash.main([], env_file) == 0
    request = made.calls[0].request
    assert str(request.url).endswith(f"/v2/schedules/{ADDRESS}/api/process-queue?x-vercel-protection-bypass=b%26d")
    assert request.headers["upstash-cron"] == "* * * * *" and request.headers["upstash-schedule-id"]
    assert "QSTASH_CURRENT_SIGNING_KEY=sig_a" in env_file.read_text()
    assert "sig_a" not in capsys.readouterr().out


def test_a_schedule_can_be_deleted(
    env_file: Path, respx_mock: respx.MockRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PUBLIC_BASE_URL", ADDRESS)
    gone = respx_mock.delete(f"{QSTASH}/schedules/sluice-production").mock(Response(200))
    assert schedule_qstash.main(["--delete"], env_file) == 0 and gone.called


def test_an_address_that_qstash_cannot_reach_is_refused(
    env_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert schedule_qstash.main([], env_file) == 1 and "PUBLIC_BASE_URL" in capsys.readouterr().err
    monkeypatch.setenv("PUBLIC_BASE_URL", "http://127.0.0.1:8000")
    assert schedule_qstash.main([], env_file) == 1


def test_a_value_with_a_backslash_is_written_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    write({"A": "1"}, path)
    write({"A": r"\1\g<0>", "B": "2"}, path)
    assert path.read_text() == "A=\\1\\g<0>\nB=2\n"
