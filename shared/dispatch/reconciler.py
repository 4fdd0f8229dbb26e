"""Applies a provider's reports to the store: the same code for a webhook, a poll and a cancellation."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from shared.clock import Clock
from shared.config.providers import NUMBERS, REGISTRY
from shared.config.settings import Settings
from shared.config.timing import CLOCK_MARGIN
from shared.dispatch.bills import bill_of
from shared.dispatch.durations import Durations
from shared.dispatch.mark import mark_of
from shared.dispatch.traces import traced_end
from shared.dispatch.webhooks import Webhooks
from shared.errors import InvalidRequest, JobNotFound, NotUnknown
from shared.jobqueue import Ended, JobQueue, Overdue, Records
from shared.jobqueue.attempts import Candidacy, Proof
from shared.jobqueue.record import JobRecord
from shared.jobqueue.state import JobState
from shared.jobqueue.terms import provider_in
from shared.json_value import MAX_DEPTH, read_object
from shared.log import log
from shared.providers.base import Found, Prediction, PredictionGone, ProviderUnavailable, Wanted
from shared.providers.failures import classify_failure
from shared.providers.loading import Providers
from shared.providers.reading import MAX_ANSWER
from shared.storage import layout
from shared.storage.bucket import Bucket, StorageError
from shared.storage.files import Staged, data_uris_in, files_in, write_files

# bytes; media are URLs. Vercel (4.5 MB) and Lambda (6 MB) cannot answer a status with more. The output is quoted again
# for the script, and must then stay below the 10 MB of a request to Upstash (its pricing page).
MAX_OUTPUT = 4_000_000
RETENTION = 3600.0  # s; Replicate deletes results an hour after their creation (its page on data retention)
MAX_HOSTS_LOGGED = 5
NOTHING = Ended("stale")
Wish = Callable[[], int]  # how many jobs the caller would start now


def no_wish() -> int:
    """Returns 0, for a caller that starts no jobs itself."""
    return 0


class Reconciler:
    """Applies predictions to jobs, and checks overdue jobs."""

    def __init__(
        self, queue: JobQueue, records: Records, providers: Providers, durations: Durations, bucket: Bucket,
        settings: Settings, clock: Clock,
    ) -> None:  # fmt: skip
        self._queue = queue
        self._records = records
        self._providers = providers
        self._durations = durations
        self._bucket = bucket
        self._settings = settings
        self._clock = clock
        self.webhooks = Webhooks(settings, clock)
        self._lease = timedelta(seconds=settings.lease)

    @traced_end
    async def apply(
        self,
        job_id: str,
        attempt: int,
        provider: str,
        prediction: Prediction,
        *,
        incarnation: str = "",
        want: Wish = no_wish,
    ) -> Ended:
        """Records a provider's report on an attempt's prediction; repeated and late reports change nothing.

        The call that frees the slot claims up to as many jobs as ``want`` then says, for the caller, who has to start
        them; see Dispatcher.follow.
        """
        bill = bill_of(self._settings, prediction)
        match prediction.status:
            case "running":
                return await self._run_goes_on(job_id, attempt, provider, prediction, incarnation)
            case "failed":
                code, retryable = classify_failure(prediction.error)
                ended = await self._queue.fail(
                    job_id, attempt, prediction.id,
                    code=code, detail=prediction.error, retryable=retryable, incarnation=incarnation, bill=bill,
                )  # fmt: skip
            case "canceled":
                ended = await self._queue.finish_and_claim(
                    job_id, attempt, prediction.id, "canceled", {}, bill=bill, incarnation=incarnation, want=want()
                )
            case "unreadable":
                ended = await self._give_up(job_id, attempt, provider, prediction.id, incarnation)
            case "completed":
                ended = await self._complete(job_id, attempt, provider, prediction, incarnation, want)
        word, outcome = ended.word, ended.outcome
        log.info("attempt_ended", job=job_id, attempt=attempt, reported=prediction.status, word=word, outcome=outcome)
        if ended.claimed is None:
            await self.cancel_other(ended, provider, job_id)
        return ended

    async def cancel_other(self, ended: Ended, provider: str, job_id: str) -> None:
        """Cancels the later attempt's prediction if an earlier one's has ended the job."""
        if ended.other:
            await self.cancel_prediction(provider, ended.other, job_id)

    async def _give_up(self, job_id: str, attempt: int, provider: str, prediction_id: str, incarnation: str) -> Ended:
        """Fails an attempt whose report cannot be read. Another attempt would be paid for, and end the same way."""
        log.error("prediction_unreadable", job=job_id, attempt=attempt, provider=provider, prediction=prediction_id)
        detail = (
            f"The provider's report cannot be read. It has more than {MAX_ANSWER} bytes, an output of more than "
            f"{MAX_DEPTH} levels, or a number of more than 4,300 digits."
        )
        ended = await self._queue.fail(
            job_id, attempt, prediction_id,
            code="unreadable", detail=detail, incarnation=incarnation,
            retryable=False,  # mutant: unreadable
        )  # fmt: skip
        if ended.is_over or ended.word == "replaced":
            # Of a report that was cut, it is not known whether the run goes on.
            await self.cancel_prediction(provider, prediction_id, job_id)
        return ended

    async def _run_goes_on(
        self, job_id: str, attempt: int, provider: str, prediction: Prediction, incarnation: str
    ) -> Ended:
        if prediction.progress is not None:
            noted = await self._queue.progress(
                job_id, attempt, prediction.id, prediction.progress, incarnation=incarnation
            )
            if noted.word == "replaced":
                await self.cancel_prediction(provider, prediction.id, job_id)
        return Ended("running")

    async def _complete(
        self, job_id: str, attempt: int, provider: str, prediction: Prediction, incarnation: str, want: Wish
    ) -> Ended:
        if prediction.model and prediction.seconds is not None:
            self._durations.learn(prediction.model, prediction.seconds)
        began, bill = self._clock.now(), bill_of(self._settings, prediction)
        if (staged := await self._staged(job_id, incarnation, prediction, began)) is None:
            return NOTHING  # its next poll or tick asks again, as long as the provider has the output
        output = json.dumps(staged.output, separators=(",", ":"))
        if prediction.removed and prediction.output is None:
            detail = "The provider had deleted the result before it could be fetched."
            return await self._queue.fail(
                job_id, attempt, prediction.id,
                code="result_expired", detail=detail, retryable=False, incarnation=incarnation, bill=bill,
            )  # fmt: skip
        if len(output.encode()) > MAX_OUTPUT:
            log.error("output_too_large", job=job_id, attempt=attempt, bytes=len(output))
            detail = f"The result has more than {MAX_OUTPUT} bytes; the provider still has it as {prediction.id}."
            return await self._queue.fail(
                job_id, attempt, prediction.id,
                code="output_too_large", detail=detail, retryable=False, incarnation=incarnation, bill=bill,
            )  # fmt: skip
        fields = {"output": output}
        has_storage = bool(self._settings.storage_scheme)
        files = files_in(staged.output, provider, self._settings, staged.files) if has_storage else []
        if files:
            fields["files"] = write_files(files)
        foreign = sum(file["state"] == "foreign_host" for file in files)
        # With the time that names the folder of its files, so that a deletion finds them.
        ended_at = began if staged.files else None
        ended = await self._queue.finish_and_claim(
            job_id, attempt, prediction.id, "completed", fields,
            bill=bill, foreign=foreign, ended_at=ended_at, incarnation=incarnation, want=want(),
        )  # fmt: skip
        if foreign and ended.word == "finished":
            hosts = sorted({urlsplit(file["url"]).hostname or "" for file in files})
            log.warning("files_not_kept", job=job_id, provider=provider, files=foreign, hosts=hosts[:MAX_HOSTS_LOGGED])
        return ended

    async def _staged(self, job_id: str, incarnation: str, prediction: Prediction, now: int) -> Staged | None:
        """Stores the files that an output holds itself; returns None if it is too large to be kept without that.

        Without such files, or a storage, the output stays as it is.
        """
        as_it_is = Staged(prediction.output, {})
        uris = data_uris_in(prediction.output) if self._settings.storage_scheme else []
        if not uris:
            return as_it_is
        try:
            job = await self._records.read(job_id)
        except JobNotFound:
            return as_it_is
        if job.is_terminal or job.incarnation != incarnation:
            return Staged(None, {})  # the script says so
        from shared.storage.staging import stage  # loads what few outputs need

        folder = layout.incarnation_folder(now, job.owner, job.user, job_id, incarnation)
        try:
            async with asyncio.timeout(self._settings.provider_timeout):
                return await stage(
                    prediction.output, uris, self._bucket, folder, max_bytes=self._settings.storage_max_bytes
                )
        except (StorageError, TimeoutError) as error:
            is_small = len(json.dumps(prediction.output)) <= MAX_OUTPUT
            log.error("output_not_staged", job=job_id, error=type(error).__name__, is_kept=is_small)
            return as_it_is if is_small else None

    async def look_at(self, job: Overdue) -> Ended:
        """Does for one overdue job the work that its webhook or its function did not."""
        if job.state == JobState.SUBMITTING:
            return await self._recover(job)
        if job.state != JobState.RUNNING:
            log.error("slot_without_run", job=job.id, attempt=job.attempt, state=job.state)
            return NOTHING
        return await self.ask(job, self._settings.provider_timeout)

    async def _recover(self, job: Overdue) -> Ended:
        """Finds the prediction of a submission of unknown outcome; without one, rescue decides."""
        began = self._clock.now()
        prediction, proof = await self._adopt(job)
        if prediction:
            log.warning("adopted", job=job.id, attempt=job.attempt, prediction=prediction)
            return await self.ask(
                replace(job, state=JobState.RUNNING, prediction=prediction), self._settings.provider_timeout
            )
        took = (self._clock.now() - began) / 1000
        rescued = await self._queue.rescue(
            job.id, job.attempt, incarnation=job.incarnation, proof=proof, took=max(0.0, took)
        )
        log.warning("outcome_unknown", job=job.id, attempt=job.attempt, proof=proof, word=rescued.word)
        return rescued

    async def _adopt(self, job: Overdue) -> tuple[str, Proof]:
        """Records and returns the one prediction that is surely this submission's, '' if the list does not say so.

        Also returns whether a complete list proves that there is none.
        """
        model, given = await self._records.request_of(job.id)
        if not model:
            return "", ""
        if (found := await self._search(job, model, given)) is None:
            return "", ""
        proof: Proof = "list" if found.is_complete else ""
        candidates = self._candidates(found)
        if not candidates:
            return "", proof
        adopted = await self._queue.adopt(job.id, job.attempt, candidates, incarnation=job.incarnation)
        if adopted.word == "ambiguous":
            log.warning("adoption_ambiguous", job=job.id, attempt=job.attempt, candidates=len(candidates))
        return adopted.prediction, proof if adopted.word == "none" else ""

    async def _search(self, job: Overdue, model: str, given: str) -> Found | None:
        """Asks the provider's list for a submission; None if it tells nothing, whatever the reason."""
        s = self._settings
        try:
            began = datetime.fromtimestamp(job.submitted_at / 1000, UTC)
            margin = timedelta(seconds=CLOCK_MARGIN * s.timing_scale)
            has_mark = s.webhooks_wanted and s.public_base_url
            mark = mark_of(s, job.provider, job.id, job.attempt, job.incarnation) if has_mark else {}
            wanted = Wanted(model, read_object(given), began - margin, began + self._lease + margin, mark)
            return await self._providers[job.provider].find(wanted, s.provider_timeout)
        except ProviderUnavailable as error:
            log.warning("provider_silent", job=job.id, attempt=job.attempt, provider=job.provider, reason=str(error))
        except Exception as error:  # mutant: search
            # Raised, it would come again at each look, and the slot would be held for ever.
            log.exception("search_failed", job=job.id, attempt=job.attempt, error=type(error).__name__)
        return None

    def _candidates(self, found: Found) -> dict[str, Candidacy]:
        """What makes each prediction a candidate. Without its mark, it may be another deployment's of this account."""
        alike: Candidacy = "alike" if self._settings.replicate_account_is_own else "doubtful"  # mutant: own account
        kinds: tuple[tuple[Candidacy, tuple[str, ...]], ...] = (
            ("doubtful", found.doubtful), (alike, found.alike), ("marked", found.marked),
        )  # fmt: skip
        return {prediction: kind for kind, predictions in kinds for prediction in predictions}

    async def adopt_named(self, job: JobRecord, prediction_id: str) -> Ended:
        """Gives a submission of unknown outcome the prediction that the operator names, and goes on with it.

        Raises InvalidRequest for a prediction that the provider does not have or that belongs to another attempt, and
        NotUnknown if the outcome has become known meanwhile.
        """
        provider = provider_in(job.lane)
        try:
            said = await self._providers[provider].get(prediction_id, self._settings.provider_timeout)
        except PredictionGone:
            raise InvalidRequest("The provider has no such prediction.", field="prediction") from None
        except ProviderUnavailable:
            said = Prediction(prediction_id, "running")  # a tick or a poll asks again
        adopted = await self._queue.adopt(job.id, job.attempt, {prediction_id: "named"}, incarnation=job.incarnation)
        if adopted.word in ("none", "ambiguous"):
            raise InvalidRequest("The prediction belongs to another attempt or to another job.", field="prediction")
        if adopted.prediction != prediction_id:
            raise NotUnknown
        if job.is_cancel_requested and said.status == "running":
            said = await self.cancel_prediction(provider, prediction_id, job.id) or said
        return await self.apply(job.id, job.attempt, provider, said, incarnation=job.incarnation)

    async def ask(self, job: Overdue, timeout: float, want: Wish = no_wish) -> Ended:
        """Asks the provider about a running job and applies its answer; a silent provider changes nothing.

        ``want`` is as for ``apply``.
        """
        provider, prediction = self._providers[job.provider], None
        listing, margin = REGISTRY[NUMBERS[job.provider]], self._settings.adoption_margin
        over_after = max(job.deadline, listing.run_limit) + margin
        ran_for = (self._clock.now() - job.submitted_at) / 1000
        try:
            if job.cancel_requested:
                # Repeats the cancel call, because the first one may have failed.
                prediction = await provider.cancel(job.prediction, timeout)
            if prediction is None:
                prediction = await provider.get(job.prediction, timeout)
        except ProviderUnavailable as error:
            log.warning("provider_silent", job=job.id, attempt=job.attempt, provider=job.provider, reason=str(error))
            over_after += RETENTION  # the provider may answer again, and keeps the result for so long
        except PredictionGone:
            log.warning("prediction_not_found", job=job.id, attempt=job.attempt, provider=job.provider)
        if prediction is not None and prediction.status == "running" and ran_for >= job.deadline + margin:
            return await self._overrun(job)
        if prediction is not None:
            self.webhooks.note_found(job, prediction)
            return await self.apply(
                job.id, job.attempt, job.provider, prediction, incarnation=job.incarnation, want=want
            )
        # Not a sure failure before its deadline: until then the prediction may exist and cost money.
        if ran_for < over_after:
            return NOTHING
        detail = "The provider no longer reports on this prediction."
        return await self._fail(job, "provider_lost", detail, retryable=True)

    async def _overrun(self, job: Overdue) -> Ended:
        """Fails a run that its provider did not end in time: it knows no deadlines, or missed this one."""
        log.error("run_overdue", job=job.id, attempt=job.attempt, provider=job.provider)
        await self.cancel_prediction(job.provider, job.prediction, job.id)
        detail = f"The run took longer than the {job.deadline:g} s that its queue allows."
        return await self._fail(job, "expired", detail, retryable=False)

    async def _fail(self, job: Overdue, code: str, detail: str, *, retryable: bool) -> Ended:
        """Fails a run of which its provider says no end."""
        return await self._queue.fail(
            job.id, job.attempt, job.prediction,
            code=code, detail=detail, retryable=retryable, incarnation=job.incarnation,
        )  # fmt: skip

    async def cancel_prediction(self, provider: str, prediction_id: str, job_id: str) -> Prediction | None:
        """Cancels an unwanted prediction, and returns its new state; if the call fails, its deadline ends it."""
        prediction = await self._providers[provider].cancel(prediction_id, self._settings.provider_timeout)
        log.info("prediction_canceled", job=job_id, provider=provider, confirmed=prediction is not None)
        return prediction
