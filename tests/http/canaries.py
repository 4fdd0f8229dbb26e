"""Secrets and texts that each carry a mark, and a witness that looks for them in all that a deployment says.

A new secret setting gets its canary here, and its use in test_canary.py. tests/config/test_canaries.py looks for it.
"""

import base64
import json
import re
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from local.rest_server.running import RunningServer

MARK = secrets.token_hex(6)


def marked(name: str) -> str:
    """A text that nothing else holds; long enough for each kind of secret."""
    return f"CANARY-{name}-{MARK}-{MARK[::-1]}"


def signing(name: str) -> str:
    """The same as a secret of webhooks: base64 of 24 to 64 bytes."""
    return "whsec_" + base64.b64encode(marked(name).encode()).decode()


API_KEY, OTHER_KEY = marked("api"), marked("other")
MAIL_PASSWORD = marked("mail")
HOOK_SECRETS = (signing("hook-new"), signing("hook-old"))
# By setting; one inside another setting's JSON is named as hooks.secrets is.
SECRETS: dict[str, tuple[str, ...]] = {
    "api_keys": (API_KEY, OTHER_KEY),
    "signing_secret": (marked("signing"),),
    "queue_processor_token": (marked("processor"),),
    "operator_token": (marked("operator"),),
    "metrics_token": (marked("metrics"),),
    "cron_secret": (marked("cron"),),
    "upstash_redis_rest_token": (marked("store"),),
    "replicate_api_token": ("r8_" + marked("replicate"),),
    "replicate_webhook_secret": (signing("replicate-webhook"),),
    "wavespeed_api_key": (marked("wavespeed"),),
    "wavespeed_webhook_secret": ("whsec_" + marked("wavespeed-webhook"),),
    "hooks.secrets": HOOK_SECRETS,
    "jwt_secret": (marked("jwt"),),
    "storage_secret_access_key": (marked("storage"),),
    "aws_secret_access_key": (marked("role"),),
    "aws_session_token": (marked("session"),),
    "aws_container_authorization_token": (marked("container"),),
    "smtp_url": (MAIL_PASSWORD,),
    "resend_api_key": ("re_" + marked("resend"),),
    "qstash_token": (marked("qstash"),),
    "qstash_current_signing_key": (marked("qstash-current"),),
    "qstash_next_signing_key": (marked("qstash-next"),),
    "vercel_automation_bypass_secret": (marked("bypass"),),
    "sentry_dsn": (marked("sentry"),),
    "otel_exporter_otlp_headers": (marked("collector"),),
    "slack_webhook_url": (marked("slack"),),
    "discord_webhook_url": (marked("discord"),),
    "alert_webhook_url": (marked("alerts"),),
}
# What callers and providers send. It belongs into some answers, and into no log, header or name of a key.
PROMPT, NOTE, ERROR = marked("prompt"), marked("note"), marked("error")


def value_of(name: str, url: str = "") -> str:
    """A setting's value with its canary; ``url`` is the address that it needs."""
    texts = SECRETS[name if name in SECRETS else f"{name}.secrets"]
    match name:
        case "api_keys":
            return f"app:{texts[0]},other:{texts[1]}"
        case "smtp_url":
            return url.replace("://", f"://post:{texts[0]}@")
        case "otel_exporter_otlp_headers":
            return f"x-key={texts[0]}"
        case "sentry_dsn":
            return f"http://{texts[0]}@127.0.0.1:9/1"  # nothing listens there
        case "slack_webhook_url" | "discord_webhook_url" | "alert_webhook_url":
            return f"{url if url.startswith('http') else 'https://hooks.acme.dev'}/{texts[0]}"
        case "hooks":
            return json.dumps({"app": {"url": url, "secrets": texts}})
        case _:
            return ",".join(texts)


def found_in(text: str, canaries: Mapping[str, str]) -> set[str]:
    """The names of the canaries that a text holds, also without what their kind of secret begins with, and decoded."""
    return {name for name, canary in canaries.items() if any(form in text for form in _forms(canary))}


def _forms(canary: str) -> list[str]:
    bare = canary.removeprefix("whsec_")
    if bare == canary or bare.startswith("CANARY"):
        return [bare]
    return [bare, base64.b64decode(bare).decode("latin-1")]


def all_secrets() -> dict[str, str]:
    """Each text of a secret setting by a name."""
    return {f"{name} {number}": text for name, texts in SECRETS.items() for number, text in enumerate(texts)}


@dataclass
class Heard:
    """One answer: what it was asked, its headers and body, and the canaries that belong into its body."""

    asked: str
    headers: str
    body: str
    shows: Collection[str]


@dataclass
class Witness:
    """Calls the deployment, and keeps every answer, and every secret that an answer hands out."""

    client: httpx.AsyncClient
    url: str
    heard: list[Heard] = field(default_factory=list)
    handed_out: dict[str, str] = field(default_factory=dict)

    async def call(self, method: str, path: str, *, shows: Collection[str] = (), **changes: Any) -> httpx.Response:
        """The answer; ``shows`` are the names of canaries that belong into its body."""
        answer = await self.client.request(method, self.url + path, **changes)
        self.heard.append(Heard(f"{method} {path}", str(answer.headers.multi_items()), answer.text, shows))
        return answer

    def keep(self, name: str, secret: str) -> None:
        """Remembers a secret that the last answer has handed out: from now on, no other answer may hold it."""
        assert len(secret) > 20, name
        self.handed_out[name] = secret
        self.heard[-1].shows = {*self.heard[-1].shows, name}

    def leaks(self, canaries: Mapping[str, str]) -> set[tuple[str, str]]:
        """What was asked, and the name of each canary that an answer should not hold."""
        found = set()
        for heard in self.heard:
            found |= {(heard.asked, name) for name in found_in(heard.headers, canaries)}
            found |= {(heard.asked, name) for name in found_in(heard.body, canaries) - set(heard.shows)}
        return found


def has_number(text: str, number: str) -> bool:
    """Whether the text has the number by itself, and not within a longer one."""
    return re.search(rf"(?<![\w.]){number}(?!\w)", text) is not None


def names_in(store: RunningServer) -> list[bytes]:
    """The names of all keys of the store, and of the members and fields that are names too."""
    found = store.ask("KEYS", "*")
    assert isinstance(found, list)
    return [key for key in found if isinstance(key, bytes)]


def contents(store: RunningServer) -> str:
    """Every key and value of the store as text."""
    reads: dict[Any, tuple[str, ...]] = {
        b"hash": ("HGETALL",), b"zset": ("ZRANGE", "0", "-1"), b"string": ("GET",), b"set": ("SMEMBERS",),
        b"list": ("LRANGE", "0", "-1"), b"stream": ("XRANGE", "-", "+"),
    }  # fmt: skip
    names = names_in(store)
    texts = [repr(names)]
    for key in names:
        command, *bounds = reads[store.ask("TYPE", key)]
        texts.append(repr(store.ask(command, key, *bounds)))
    return "\n".join(texts)
