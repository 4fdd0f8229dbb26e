"""No secret setting is without a canary, and no setting that sounds like a secret is a plain text."""

import importlib
import json
import re
import typing
from collections.abc import Iterator

import pytest
from pydantic import BaseModel, SecretStr
from pydantic_settings import BaseSettings

from shared.config.settings import Settings
from shared.startup import SettingsError, load_settings
from tests.config.production import BUCKET
from tests.http.canaries import SECRETS, all_secrets, found_in, value_of
from tests.logs import all_logs
from tests.project import ROOT

# Settings that sound like a secret and are none.
NO_SECRETS = {
    "storage_access_key_id", "aws_access_key_id",  # names of keys, which signed URLs show
    "jwt_public_key",
    "aws_container_authorization_token_file",  # a path
    "key_weights", "max_key_tasks", "max_key_queued", "submit_rate_per_key",  # of API keys, by their names
}  # fmt: skip


def classes(base: type[BaseSettings] = BaseSettings) -> Iterator[type[BaseSettings]]:
    """All classes of settings of shared/."""
    for made in base.__subclasses__():
        if made.__module__.startswith("shared."):
            yield made
        yield from classes(made)


def parts(annotation: typing.Any) -> Iterator[typing.Any]:
    """The types of which an annotation is made."""
    yield annotation
    for inner in typing.get_args(annotation):
        yield from parts(inner)


def secrets_of(model: type[BaseModel], within: str = "") -> Iterator[str]:
    """The names of a model's secret fields; those of a model inside it as ``outer.inner``."""
    for name, field in model.model_fields.items():
        for part in parts(field.annotation):
            if part is SecretStr:
                yield within + name
            elif isinstance(part, type) and issubclass(part, BaseModel):
                yield from secrets_of(part, f"{within}{name}.")


@pytest.fixture(scope="module")
def of_settings() -> list[type[BaseSettings]]:
    for path in sorted((ROOT / "shared").rglob("*.py")):
        if re.search(r"\b\w*Settings\)|\bSecretStr\b", path.read_text()):
            importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    return list(classes())


def test_each_secret_setting_has_a_canary(of_settings: list[type[BaseSettings]]) -> None:
    """A new one gets its canary in tests/http/canaries.py, and its use in tests/http/test_canary.py."""
    found = {name for made in of_settings for name in secrets_of(made)}
    assert found == set(SECRETS) and len(found) > 20


def test_no_two_settings_have_one_canary() -> None:
    texts = [text for every in SECRETS.values() for text in every]
    assert len(texts) == len(set(texts))


def test_a_setting_that_sounds_like_a_secret_is_one(of_settings: list[type[BaseSettings]]) -> None:
    names = {name for made in of_settings for name in made.model_fields}
    sounding = {name for name in names if re.search(r"(^|_)(secret|token|password|key|dsn)s?(_|$)", name)}
    secret = {name.partition(".")[0] for name in SECRETS}
    assert sounding - secret == NO_SECRETS


SPOILT = ('"{}"', "Bearer {}", "{}\u00e9", "{} \t {}", "https://{}@acme.dev", "{{{}", "example {}", "<{}>")


@pytest.mark.parametrize("spoilt", SPOILT)
@pytest.mark.parametrize("name", [name for name in SECRETS if "." not in name] + ["hooks"])
def test_no_start_and_no_refusal_of_one_shows_a_secret(environment: pytest.MonkeyPatch, name: str, spoilt: str) -> None:
    canaries = all_secrets()
    environment.setenv("PROVIDERS", "replicate,wavespeed")
    environment.setenv(name.upper(), spoilt.replace("{}", value_of(name, "smtp://smtp.acme.dev:587")))
    for with_bucket in (BUCKET, BUCKET | {"STORAGE_ACCESS_KEY_ID": ""}):
        for variable, value in with_bucket.items():
            if variable != name.upper():
                environment.setenv(variable, value)
        with all_logs() as logged:
            try:
                shown = [repr(load_settings())]
            except SettingsError as error:
                shown = [str(error), repr(error), repr(error.__context__), repr(error.__cause__)]
        assert found_in(f"{shown} {logged}", canaries) == set()


def test_settings_that_are_shown_hide_each_secret(environment: pytest.MonkeyPatch) -> None:
    plain = {name for name in SECRETS if name in Settings.model_fields}
    more: dict[str, typing.Any] = {name: value_of(name, "smtp://smtp.acme.dev:587") for name in plain}
    more |= {"jwt_issuer": "i", "jwt_audience": "a", "jwt_owner": "app", "mail_from": "no-reply@acme.dev"}
    settings = Settings(sluice_env="test", hooks=json.loads(value_of("hooks", "https://example.com")), **more)
    shown = f"{settings!r} {settings} {settings.model_dump_json()} {settings.model_dump()} {settings.smtp_server!r}"
    assert found_in(shown, all_secrets()) == set()
    assert settings.smtp_server is not None and settings.smtp_server.password == SECRETS["smtp_url"][0]
