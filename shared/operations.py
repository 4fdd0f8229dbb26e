"""All operations of the HTTP API: their parameters and bodies, their answers, and their errors.

The API's description is made from this table. No request reads it. Tests compare every answer of every HTTP test with
it (tests/http/contract.py).
"""

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from pydantic import BaseModel

from shared import errors
from shared.access.caller import Role
from shared.access.errors import (
    CrossSite,
    KeyEnded,
    KeyNotFound,
    KeysUnavailable,
    NotPermitted,
    ScopeMissing,
    TokenRefused,
)
from shared.access.scope import Scope
from shared.alerts import errors as of_alerts
from shared.alerts.order import SilenceOrder
from shared.config.limits import MAX_JOBS
from shared.doctor.order import DoctorOrder, DoctorQuery
from shared.documents.alerts import AlertsDocument, SilenceDocument
from shared.documents.answers import (
    AppliedWebhook,
    CanceledBatch,
    CanceledJob,
    ChangedJob,
    ErasedUser,
    HooksDocument,
    IssuedToken,
    JobOutput,
    OutputPiece,
    PreparedUpload,
    Receipt,
    RedriveReceipt,
    RetriedBatch,
    TokenReceipt,
)
from shared.documents.batch import BatchDocument
from shared.documents.delivery import DeliveriesDocument, UndeliveredPage
from shared.documents.doctor import DoctorReport
from shared.documents.inspection import InputDocument, InspectedJob
from shared.documents.job import JobDocument, JobsPage, LettersPage, OwnedJobsPage
from shared.documents.keys import AuditPage, KeyDocument, KeysPage, MadeKey
from shared.documents.operating import (
    BulkReport,
    Health,
    LimitsDocument,
    RedriveReport,
    RoomMade,
    SettledJob,
    Statistics,
    TickReport,
    Unavailable,
    UserLimitsPage,
)
from shared.documents.statistics import StatisticsDocument
from shared.documents.usage import UsageDocument
from shared.documents.verification import BlockedCount, BlockedPage, ProofKey, SentCode, VerifiedAddress
from shared.errors import Problem
from shared.frozen import dataclass
from shared.hooks.delivery_log import BatchRedelivery, JobRedelivery
from shared.jobs.audit_trail import AuditQuery
from shared.jobs.batches import MAX_RESULTS, BatchRequest
from shared.jobs.bulk import CancelOrder, PurgeOrder
from shared.jobs.clearing import RoomOrder
from shared.jobs.erasure import ErasureQuery
from shared.jobs.issued_keys import KeyChange, KeysQuery, NewKey, Rotation
from shared.jobs.limits import LimitsChange, UserLimitsQuery
from shared.jobs.listing import AnyJobsQuery, JobsQuery, LettersQuery, UndeliveredQuery
from shared.jobs.redrive import RedriveOrder
from shared.jobs.request import JobChange, SubmitRequest
from shared.jobs.results import MAX_FILE, MAX_FROM
from shared.jobs.settlement import Settlement
from shared.jobs.survey import StatisticsQuery
from shared.jobs.tokens import TokenRequest
from shared.jobs.uploads import UploadRequest
from shared.mail import errors as of_mail
from shared.rates.errors import RateLimited
from shared.usage.report import UsageQuery
from shared.verification import errors as of_codes
from shared.verification.request import BlockedChange, BlockedQuery, CodeCheck, CodeRequest

Refusals = tuple[type[Problem], ...]

STORE: Refusals = (errors.StoreUnavailable, errors.StoreRefused, errors.StoreUncertain, errors.StoreScriptError)
CALLED: Refusals = (
    errors.Unauthenticated, RateLimited, CrossSite, ScopeMissing, NotPermitted, TokenRefused, KeysUnavailable,
)  # fmt: skip
ASKED: Refusals = (*CALLED, *STORE)  # of an operation that needs a caller: the store may have the caller's key
GIVEN: Refusals = (errors.InvalidRequest, *ASKED)  # of an operation that also reads a body or a query
NO_ROOM: Refusals = (
    errors.UserLimitReached, errors.UserQueueFull, errors.KeyQueueFull, errors.QueueFull, errors.BudgetExceeded,
)  # fmt: skip

# Of one that takes a key and a hook.
HOOKED: Refusals = (errors.IdempotencyConflict, errors.ChangedMeanwhile, errors.LookupFailed)
OF_KEY: Refusals = (KeyEnded, errors.ChangedMeanwhile)
OF_OPERATOR = (Role.OPERATOR,)
READERS = (Role.OPERATOR, Role.APPLICATION)  # of what any owner has, and of what one has


@dataclass(frozen=True)
class Operation:
    """One method of one path, as the routes name them. HEAD works where GET does, and has no row of its own for that.

    ``answers`` has a TypedDict, or a union of them, for each status; None for an answer without a JSON body. ``body``
    and ``query`` are models; ``numbers`` are single parameters of the query with their bounds. ``refuses_with`` lists
    the errors that are raised on purpose. ``scope`` is what an application's credential needs, if ``roles`` has one.
    """

    method: str
    path: str
    answers: Mapping[int, Any]
    refuses_with: Refusals
    scope: Scope | None = None
    roles: tuple[Role, ...] = (Role.APPLICATION,)
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    at: type[BaseModel] | None = None  # a model of the path's parameters, if they have bounds
    numbers: Mapping[str, tuple[int, int]] = field(default_factory=dict)


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "POST", "/api/submit", {202: Receipt | TokenReceipt}, (*GIVEN, *NO_ROOM, *HOOKED),
        scope=Scope.SUBMIT, body=SubmitRequest,
    ),
    Operation(
        "GET", "/api/status/{job_id}", {200: JobDocument, 304: None},
        (*ASKED, errors.JobNotFound, errors.StorageUnavailable), roles=READERS, scope=Scope.READ,
    ),
    Operation("GET", "/api/jobs", {200: JobsPage}, GIVEN, scope=Scope.READ, query=JobsQuery),
    Operation(
        "DELETE", "/api/jobs/{job_id}", {204: None},
        (*ASKED, errors.JobNotFound, errors.NotTerminal, errors.BelongsToBatch, errors.StorageUnavailable),
        scope=Scope.MANAGE,
    ),
    Operation(
        "POST", "/api/jobs/{job_id}/retry", {202: RedriveReceipt},
        (*GIVEN, *NO_ROOM, errors.JobNotFound, errors.NotFailed, errors.BelongsToBatch, errors.AlreadyRedriven),
        scope=Scope.MANAGE,
    ),
    Operation(
        "GET", "/api/jobs/{job_id}/result", {200: JobOutput | OutputPiece, 303: None},
        (
            *GIVEN, errors.JobNotFound, errors.NotCompleted, errors.NoSuchFile, errors.OutputChanged,
            errors.StorageUnavailable,
        ),
        roles=READERS, scope=Scope.READ, numbers={"file": (0, MAX_FILE), "from": (0, MAX_FROM)},
    ),
    Operation(
        "POST", "/api/jobs/{job_id}/cancel", {200: CanceledJob, 202: CanceledJob, 409: CanceledJob},
        (*ASKED, errors.JobNotFound),
        scope=Scope.CANCEL,
    ),
    Operation(
        "PATCH", "/api/jobs/{job_id}", {200: ChangedJob}, (*GIVEN, errors.JobNotFound, errors.NotWaiting),
        scope=Scope.MANAGE, body=JobChange,
    ),
    Operation(
        "GET", "/api/jobs/{job_id}/deliveries", {200: DeliveriesDocument}, (*ASKED, errors.JobNotFound),
        roles=READERS, scope=Scope.MANAGE,
    ),
    Operation(
        "POST", "/api/jobs/{job_id}/redeliver", {200: DeliveriesDocument},
        (*GIVEN, errors.JobNotFound, errors.NoSuchEvent), scope=Scope.MANAGE, body=JobRedelivery,
    ),
    Operation(
        "POST", "/api/batches", {202: BatchDocument}, (*GIVEN, *NO_ROOM, *HOOKED), scope=Scope.SUBMIT, body=BatchRequest
    ),
    Operation(
        "GET", "/api/batches/{batch_id}", {200: BatchDocument},
        (*GIVEN, errors.BatchNotFound, errors.StorageUnavailable), roles=READERS, scope=Scope.READ,
        numbers={"first": (0, MAX_JOBS - 1), "count": (0, MAX_RESULTS)},
    ),
    Operation(
        "POST", "/api/batches/{batch_id}/cancel", {200: CanceledBatch, 202: CanceledBatch, 409: CanceledBatch},
        (*ASKED, errors.BatchNotFound),
        scope=Scope.CANCEL,
    ),
    Operation(
        "POST", "/api/batches/{batch_id}/retry", {202: RetriedBatch}, (*ASKED, *NO_ROOM, errors.BatchNotFound),
        scope=Scope.MANAGE,
    ),
    Operation(
        "GET", "/api/batches/{batch_id}/deliveries", {200: DeliveriesDocument}, (*ASKED, errors.BatchNotFound),
        roles=READERS, scope=Scope.MANAGE,
    ),
    Operation(
        "POST", "/api/batches/{batch_id}/redeliver", {200: DeliveriesDocument},
        (*GIVEN, errors.BatchNotFound, errors.NoSuchEvent), scope=Scope.MANAGE, body=BatchRedelivery,
    ),
    Operation("POST", "/api/process-queue", {200: TickReport}, GIVEN, roles=(Role.SCHEDULER, Role.QSTASH)),
    Operation(
        "GET", "/api/process-queue", {200: Statistics | TickReport}, ASKED,
        roles=(Role.CRON, Role.OPERATOR, Role.SCHEDULER),
    ),
    Operation("GET", "/api/metrics", {200: None}, ASKED, roles=(Role.METRICS, Role.OPERATOR)),
    Operation("POST", "/api/webhook/{provider}", {200: AppliedWebhook}, GIVEN, roles=(Role.PROVIDER,)),
    Operation("GET", "/api/health", {200: Health, 503: Unavailable}, (), roles=(Role.ANYONE,)),
    Operation(
        "GET", "/api/operate/statistics", {200: StatisticsDocument}, GIVEN, roles=OF_OPERATOR, query=StatisticsQuery
    ),
    Operation("GET", "/api/operate/limits", {200: LimitsDocument}, ASKED, roles=OF_OPERATOR),
    Operation("PATCH", "/api/operate/limits", {200: LimitsDocument}, GIVEN, roles=OF_OPERATOR, body=LimitsChange),
    Operation("GET", "/api/operate/jobs", {200: OwnedJobsPage}, GIVEN, roles=OF_OPERATOR, query=AnyJobsQuery),
    Operation(
        "GET", "/api/operate/jobs/{job_id}", {200: InspectedJob}, (*ASKED, errors.JobNotFound), roles=OF_OPERATOR
    ),
    Operation(
        "GET", "/api/operate/jobs/{job_id}/input", {200: InputDocument}, (*ASKED, errors.JobNotFound),
        roles=OF_OPERATOR,
    ),
    Operation("POST", "/api/operate/cancel", {200: BulkReport}, GIVEN, roles=OF_OPERATOR, body=CancelOrder),
    Operation("POST", "/api/operate/purge", {200: BulkReport}, GIVEN, roles=OF_OPERATOR, body=PurgeOrder),
    Operation(
        "GET", "/api/operate/user-limits", {200: UserLimitsPage}, GIVEN, roles=OF_OPERATOR, query=UserLimitsQuery
    ),
    Operation("GET", "/api/operate/dead-letters", {200: LettersPage}, GIVEN, roles=OF_OPERATOR, query=LettersQuery),
    Operation(
        "DELETE", "/api/operate/dead-letters/{job_id}", {204: None}, (*ASKED, errors.JobNotFound),
        roles=OF_OPERATOR,
    ),
    Operation(
        "POST", "/api/operate/dead-letters/redrive", {200: RedriveReport}, GIVEN,
        roles=OF_OPERATOR, body=RedriveOrder,
    ),
    Operation(
        "POST", "/api/operate/jobs/{job_id}/settle", {200: SettledJob},
        (*GIVEN, errors.JobNotFound, errors.NotUnknown), roles=OF_OPERATOR, body=Settlement,
    ),
    Operation("POST", "/api/operate/make-room", {200: RoomMade}, GIVEN, roles=OF_OPERATOR, body=RoomOrder),
    Operation(
        "GET", "/api/operate/undelivered", {200: UndeliveredPage}, GIVEN,
        roles=OF_OPERATOR, query=UndeliveredQuery,
    ),
    Operation(
        "POST", "/api/operate/keys", {201: MadeKey}, (*GIVEN, errors.LookupFailed), roles=OF_OPERATOR, body=NewKey
    ),
    Operation("GET", "/api/operate/keys", {200: KeysPage}, GIVEN, roles=OF_OPERATOR, query=KeysQuery),
    Operation("GET", "/api/operate/keys/{key_id}", {200: KeyDocument}, (*ASKED, KeyNotFound), roles=OF_OPERATOR),
    Operation(
        "PATCH", "/api/operate/keys/{key_id}", {200: KeyDocument},
        (*GIVEN, errors.LookupFailed, KeyNotFound, *OF_KEY), roles=OF_OPERATOR, body=KeyChange,
    ),
    Operation(
        "POST", "/api/operate/keys/{key_id}/rotate", {201: MadeKey}, (*GIVEN, KeyNotFound, *OF_KEY),
        roles=OF_OPERATOR, body=Rotation,
    ),
    Operation(
        "POST", "/api/operate/keys/{key_id}/revoke", {200: KeyDocument},
        (*ASKED, KeyNotFound, errors.ChangedMeanwhile), roles=OF_OPERATOR,
    ),
    Operation("GET", "/api/operate/doctor", {200: DoctorReport}, GIVEN, roles=OF_OPERATOR, query=DoctorQuery),
    Operation("POST", "/api/operate/doctor", {200: DoctorReport}, GIVEN, roles=OF_OPERATOR, body=DoctorOrder),
    Operation("GET", "/api/operate/usage", {200: UsageDocument}, GIVEN, roles=OF_OPERATOR, query=UsageQuery),
    Operation("GET", "/api/operate/audit", {200: AuditPage}, GIVEN, roles=OF_OPERATOR, query=AuditQuery),
    Operation("GET", "/api/operate/alerts", {200: AlertsDocument}, ASKED, roles=OF_OPERATOR),
    Operation(
        "POST", "/api/operate/alerts/silences", {201: SilenceDocument}, (*GIVEN, of_alerts.TooManySilences),
        roles=OF_OPERATOR, body=SilenceOrder,
    ),
    Operation(
        "DELETE", "/api/operate/alerts/silences/{silence_id}", {204: None}, (*ASKED, of_alerts.SilenceNotFound),
        roles=OF_OPERATOR,
    ),
    Operation("GET", "/api/hooks", {200: HooksDocument}, ASKED, scope=Scope.MANAGE),
    Operation(
        "POST", "/api/uploads", {201: PreparedUpload},
        (*GIVEN, errors.NoStorage, errors.StorageUnavailable), scope=Scope.SUBMIT, body=UploadRequest,
    ),
    Operation(
        "GET", "/api/files/{key:path}", {200: None, 206: None, 304: None},
        (errors.LinkRefused, errors.NoSuchFile, errors.RangeRefused, errors.StorageUnavailable),
        roles=(Role.LINK,),
    ),
    Operation(
        "HEAD", "/api/files/{key:path}", {200: None, 206: None, 304: None},
        (errors.LinkRefused, errors.NoSuchFile, errors.RangeRefused, errors.StorageUnavailable),
        roles=(Role.LINK,),
    ),
    Operation(
        "PUT", "/api/files/{key:path}", {200: None},
        (errors.InvalidRequest, errors.LinkRefused, errors.StorageUnavailable),
        roles=(Role.LINK,),
    ),
    Operation(
        "POST", "/api/tokens", {201: IssuedToken}, GIVEN,
        scope=Scope.MANAGE, body=TokenRequest,
    ),
    Operation(
        "DELETE", "/api/users", {200: ErasedUser}, (*GIVEN, errors.StorageUnavailable),
        scope=Scope.MANAGE, query=ErasureQuery,
    ),
    Operation(
        "POST", "/api/verification/send", {202: SentCode},
        (
            *GIVEN, of_codes.AddressBlocked, of_codes.VerificationLimited, of_mail.NoMail, of_mail.MailRefused,
            of_mail.MailDeferred, of_mail.MailUnavailable, of_mail.MailUncertain,
        ),
        scope=Scope.MANAGE, body=CodeRequest,
    ),
    Operation(
        "POST", "/api/verification/check", {200: VerifiedAddress},
        (*GIVEN, of_codes.CodeInvalid, of_codes.VerificationLimited),
        scope=Scope.MANAGE, body=CodeCheck,
    ),
    Operation("GET", "/api/verification/key", {200: ProofKey}, ASKED, scope=Scope.MANAGE),
    Operation("GET", "/api/operate/blocked", {200: BlockedPage}, GIVEN, roles=OF_OPERATOR, query=BlockedQuery),
    Operation("PATCH", "/api/operate/blocked", {200: BlockedCount}, GIVEN, roles=OF_OPERATOR, body=BlockedChange),
)  # fmt: skip
