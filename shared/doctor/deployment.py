"""Checks of the deployment around the store: its settings, its schedule, its webhooks and its bucket."""

import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from shared.clock import Clock
from shared.config.settings import Settings
from shared.dispatch.mark import mark_of
from shared.doctor.check import Said
from shared.jobqueue import Records
from shared.signing.webhooks import V1, V3, Scheme, sign
from shared.startup import cautions
from shared.storage.bucket import Bucket, StorageError
from shared.storage.check import tidy
from shared.storage.refusals import cause_of

if TYPE_CHECKING:
    from shared.egress import GuardedClient

NO_JOB = "doctor"  # the job that the webhook is about; no job has such an id
ANSWER_TIMEOUT = 10.0  # s
MAX_SHOWN = 200  # bytes of an answer
FOLDER = "check"
CONTENT = b"The doctor checks that it may write, read, list and delete."


class SettingsCheck:
    """Says what a start warns of."""

    name, timeout = "settings", 1.0

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def run(self) -> Said:
        s = self._settings
        said = Said(figures={"environment": s.environment, "prefix": s.prefix, "providers": list(s.provider_names)})
        for caution in cautions(s):
            said.find(
                caution.event, f"{caution.consequence[0].upper()}{caution.consequence[1:]}.",
                "Change the setting, if it is an oversight.", subject=("setting", ""), severity="warning",
            )  # fmt: skip
        return said


class ScheduleCheck:
    """Looks when the last tick ran."""

    name, timeout = "schedule", 10.0

    def __init__(self, records: Records, settings: Settings, clock: Clock) -> None:
        self._records = records
        self._settings = settings
        self._clock = clock

    async def run(self) -> Said:
        period = self._settings.tick_period
        at, now = await self._records.last_tick_at(), self._clock.now()
        age = None if at is None else max(0, (now - at) // 1000)
        said = Said(figures={"last_tick_age_seconds": age, "tick_period": period})
        advice = "Look whether the schedule calls `POST /api/process-queue`, with which answer."
        if age is None:
            said.find("no_tick", "No tick has run yet, so the schedule may be missing.", advice)
        elif age > self._settings.late_tick_after:
            said.find("schedule_silent", "The schedule has been silent.", advice, evidence={"seconds": age})
        return said


class WebhookCheck:
    """Sends this deployment a signed webhook about no job, by its public address. It costs no command."""

    name, timeout = "webhook", 25.0

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock

    async def run(self) -> Said:
        s, said = self._settings, Said()
        if not (s.webhooks_wanted and s.public_base_url):
            said.undetermined.append("No provider sends webhooks here: PUBLIC_BASE_URL is missing, or no https URL.")
            return said
        async with self._client() as client:
            for provider, secret, scheme in self._senders():
                await self._send(client, provider, secret, scheme, said)
        return said

    @asynccontextmanager
    async def _client(self) -> AsyncIterator["GuardedClient"]:
        from shared.egress import Guard, guarded_client  # loads httpx

        # As a provider would: what is no public address cannot be reached from there.
        async with guarded_client(Guard(self._settings.allow_loopback), ANSWER_TIMEOUT) as client:
            yield client

    def _senders(self) -> list[tuple[str, str, Scheme]]:
        """The providers that sign their webhooks, each with the secret in use and its scheme."""
        found = [("replicate", secret, V1) for secret in self._settings.replicate_webhook_secrets[:1]]
        if "wavespeed" in self._settings.provider_names:
            from shared.providers.wavespeed import WaveSpeedSettings

            found += [("wavespeed", secret, V3) for secret in WaveSpeedSettings().webhook_secrets[:1]]
        return [sender for sender in found if sender[0] in self._settings.provider_names]

    async def _send(
        self, client: "GuardedClient", provider: str, secret: str, scheme: Scheme, said: Said
    ) -> None:  # fmt: skip
        from shared.egress import EgressRefused

        s, now = self._settings, self._clock.now()
        # A run that goes on, of a job that there is not: nothing is looked up and nothing is written.
        body = json.dumps({"id": NO_JOB, "status": "processing"}).encode()
        query = urlencode({**mark_of(s, provider, NO_JOB, 0, ""), **s.bypass_query})
        message = f"msg_{secrets.token_hex(8)}"
        headers = {
            "content-type": "application/json", "webhook-id": message, "webhook-timestamp": str(now // 1000),
            "webhook-signature": sign(secret, message, now // 1000, body, scheme),
        }  # fmt: skip
        base, advice = (s.public_base_url or "").rstrip("/"), "Look at PUBLIC_BASE_URL, and at what stands before it."
        subject = ("provider", provider)
        try:
            answer = await client.post(f"{base}/api/webhook/{provider}?{query}", content=body, headers=headers)
        except EgressRefused as refused:
            text = "The public address cannot be called from outside."
            said.find("webhook_unreachable", text, advice, subject=subject, evidence={"reason": refused.reason})
            return
        except Exception as error:
            text, evidence = "This deployment does not answer at its public address.", {"error": type(error).__name__}
            said.find("webhook_unreachable", text, advice, subject=subject, evidence={**evidence})
            return
        if answer.status_code != 200 or answer.content[:MAX_SHOWN] != b'{"result":"running"}':
            text = "A signed webhook is not answered as this deployment would."
            if answer.status_code == 401:
                advice = "Something before it asks for a login, or an instance has another webhook or signing secret."
            said.find("webhook_refused", text, advice, subject=subject, evidence={"status": answer.status_code})


class StorageCheck:
    """Writes a small file into the bucket, reads it, reads a range of it, lists and deletes it; then asks for CORS."""

    name, timeout = "storage", 25.0

    def __init__(self, bucket: Bucket, settings: Settings, clock: Clock) -> None:
        self._bucket = bucket
        self._settings = settings
        self._clock = clock

    async def run(self) -> Said:
        said = Said(figures={"scheme": self._settings.storage_scheme or None})
        if not self._settings.storage_scheme:
            said.undetermined.append("No storage is configured: results stay with the providers, for an hour.")
            return said
        key, step, is_tidy = f"{FOLDER}/{secrets.token_hex(8)}", "write", False
        try:
            for step in ("write", "read", "range", "list", "delete"):
                if fault := await self._step(step, key):
                    said.find("storage_differs", fault, "Look at the storage's server.", subject=("step", step))
                    break
        except StorageError as error:
            evidence = {"reason": str(error), **cause_of(error.refusal, step, self._bucket)}
            advice = "Give the credentials this right, or mend what the evidence names."
            said.find("storage_refuses", f"The storage refuses a {step}.", advice, evidence=evidence)
        else:
            is_tidy = not said.findings
            await self._ask_for_cors(said)
        finally:
            if not is_tidy:  # also when the check's time is over
                await tidy(self._bucket, key)
        return said

    async def _step(self, step: str, key: str) -> str:
        """What a step shows to be wrong; '' for nothing. Raises StorageError."""
        match step:
            case "write":
                await self._bucket.write(key, CONTENT)
            case "read" | "range":
                first, last = (0, None) if step == "read" else (4, 10)
                content = b"".join([piece async for piece in self._bucket.read(key, first, last)])
                return "" if content == CONTENT[first:last] else "What is read is not what was written."
            case "list":
                found = [one async for page in self._bucket.pages(FOLDER) for one in page]
                return "" if key in found else "A list lacks a file that was written."
            case "delete":
                await self._bucket.delete([key])
                return "" if await self._bucket.size(key) is None else "A deleted file is still there."
        return ""

    async def _ask_for_cors(self, said: Said) -> None:
        """Whether the bucket lets pages of each listed origin upload and read, by a preflight as a browser sends it."""
        origins, s = self._settings.origins, self._settings
        if not origins or s.storage_scheme != "s3":
            return
        from shared.egress import Guard, guarded_client

        url, _ = self._bucket.upload_url(f"{FOLDER}/cors", self._clock.now(), "image/png", 1)
        async with guarded_client(Guard(s.allow_loopback), ANSWER_TIMEOUT) as client:
            for origin in origins:
                headers = {
                    "Origin": origin, "Access-Control-Request-Method": "PUT",
                    "Access-Control-Request-Headers": "content-type",
                }  # fmt: skip
                try:
                    answer = await client.options(url, headers=headers)
                except Exception as error:
                    said.undetermined.append(f"CORS of the bucket: no answer ({type(error).__name__}).")
                    return
                if answer.headers.get("access-control-allow-origin") not in ("*", origin):
                    said.find(
                        "bucket_cors", "The bucket does not let a page of this origin upload.",
                        "Add a CORS rule to the bucket: docs/deploy.md has one.",
                        subject=("origin", origin), evidence={"status": answer.status_code}, severity="warning",
                    )  # fmt: skip
