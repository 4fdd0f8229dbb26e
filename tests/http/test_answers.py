"""What every route's answers have in common: headers, HEAD, no redirect of ours, and no call from another site."""

import base64
import gzip
import json
import re
import zlib

import httpx
import pytest

from shared.clock import ManualClock
from shared.errors import PROBLEM_JSON
from shared.operations import OPERATIONS, Operation
from shared.providers.base import Prediction
from shared.requests.answers import HEADERS
from tests.http.calls import BODY, problem, webhook_url
from tests.http.serving import connected, head, served
from tests.world import API_KEY, AUTH, OPERATOR, PROCESSOR, World, http_client, make_world

VALUES = {
    "job_id": "job_1", "batch_id": "bat_1", "provider": "replicate", "user_id:path": "ada", "key:path": "x",
    "key_id": "0" * 12, "silence_id": "0" * 16,
}  # fmt: skip
BASIC = {"Authorization": "Basic " + base64.b64encode(f"app:{API_KEY}".encode()).decode()}
FOR_APPLICATIONS = [
    operation
    for operation in OPERATIONS
    if not operation.path.startswith(
        ("/api/operate/", "/api/webhook/", "/api/files/", "/api/process", "/api/health", "/api/metrics")
    )
]


def path_of(operation: Operation) -> str:
    return re.sub(r"{([^}]+)}", lambda found: VALUES[found[1]], operation.path)


def caller_of(operation: Operation) -> dict[str, str]:
    if operation.path.startswith("/api/operate/"):
        return OPERATOR
    return PROCESSOR if operation.path == "/api/process-queue" else AUTH


async def test_each_answer_has_the_common_headers(valkey_world: World) -> None:
    async with http_client() as client:
        for operation in OPERATIONS:
            for headers in ({}, caller_of(operation)):
                answer = await client.request(operation.method, path_of(operation), headers=headers)
                assert set(HEADERS) <= set(answer.headers), path_of(operation)
                assert answer.headers["x-content-type-options"] == "nosniff"
                assert "sandbox" in answer.headers["content-security-policy"]
        assert set(HEADERS) <= set((await client.get("/api/nowhere")).headers)


async def test_a_bug_has_the_common_headers_too(valkey_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def breaks(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(valkey_world.runtime.listing, "jobs", breaks)
    async with http_client(**AUTH) as client:
        answer = await client.get("/api/jobs")
        assert answer.status_code == 500 and set(HEADERS) <= set(answer.headers)


async def test_only_https_has_strict_transport_security(valkey_world: World) -> None:
    from functions.index import app

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app)) as client:
        plain, secure = [await client.get(f"{scheme}://sluice.test/api/health") for scheme in ("http", "https")]
    assert "strict-transport-security" not in plain.headers
    assert secure.headers["strict-transport-security"] == "max-age=31536000"


async def test_no_path_is_redirected_to_the_host_that_a_caller_names(valkey_world: World) -> None:
    async with http_client(**AUTH) as client:
        for operation in OPERATIONS:
            path = f"{path_of(operation)}/"
            answer = await client.request(operation.method, path, headers={"Host": "evil.example"})
            assert not answer.is_redirect and "evil.example" not in str(answer.headers), path


async def test_head_answers_as_get_without_the_body(valkey_world: World) -> None:
    gets = [operation for operation in OPERATIONS if operation.method == "GET" and "/files/" not in operation.path]
    assert len(gets) > 8
    job_id = await valkey_world.enqueue()
    async with http_client() as client:
        for operation in gets:
            path = path_of(operation).replace("job_1", job_id)
            for headers in ({}, caller_of(operation)):
                got = await client.get(path, headers=headers)
                asked = await client.head(path, headers=headers)
                assert (asked.status_code, asked.content) == (got.status_code, b""), path
                assert set(asked.headers) == set(got.headers), path
        assert (await client.head("/api/submit", headers=AUTH)).status_code == 405


async def test_head_over_a_real_connection_leaves_it_usable(valkey_world: World) -> None:
    from functions.index import app

    async with served(app) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=AUTH) as client:
        for _ in range(2):
            asked = await client.head("/api/jobs")
            got = await client.get("/api/jobs")
            assert asked.headers["content-length"] == got.headers["content-length"] == str(len(got.content))


@pytest.mark.parametrize("operation", FOR_APPLICATIONS, ids=lambda operation: f"{operation.method} {operation.path}")
async def test_a_page_of_another_site_cannot_use_what_a_browser_remembers(
    valkey_world: World, operation: Operation
) -> None:
    path = path_of(operation)
    async with http_client() as client:
        for site, is_refused in (("cross-site", True), ("same-site", True), ("same-origin", False), ("none", False)):
            answer = await client.request(operation.method, path, headers=BASIC | {"Sec-Fetch-Site": site})
            is_cross = answer.headers["content-type"] == PROBLEM_JSON and answer.json()["code"] == "cross_site"
            assert is_cross == is_refused and answer.status_code != 401, path
        answer = await client.request(operation.method, path, headers=AUTH | {"Sec-Fetch-Site": "cross-site"})
        assert answer.status_code not in (401, 403)
        for mode, place in (("navigate", "document"), ("navigate", "iframe"), ("no-cors", "image"), ("cors", "empty")):
            fetched = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": place}
            answer = await client.request(operation.method, path, headers=BASIC | fetched)
            is_link = operation.method == "GET" and place == "document"
            assert (answer.status_code == 403) == (not is_link), (path, mode, place)


@pytest.mark.parametrize(
    ("origin", "is_refused"),
    [
        ("https://evil.example", True), ("null", True), ("https://a.sluice.test", True),
        ("http://sluice.test:81", True),
        ("https://sluice.test", False), ("http://sluice.test", True), ("https://q.acme.dev", False),
        ("https://app.acme.dev", True), ("", True),
    ],
)  # fmt: skip
async def test_a_form_of_another_origin_cannot_use_what_a_browser_remembers(
    clock: ManualClock, origin: str, is_refused: bool
) -> None:
    """As older browsers send it, without Sec-Fetch-Site."""
    changes = {"cors_origins": "https://app.acme.dev", "public_base_url": "https://q.acme.dev/stage"}
    async with make_world(None, clock, **changes) as world, http_client() as client:
        path = f"/api/jobs/{await world.enqueue()}/cancel"
        answer = await client.post(path, headers=BASIC | {"Origin": origin})
        assert (answer.status_code == 403) == is_refused
        if is_refused:
            problem(answer, 403, "cross_site")
            assert (await client.post(path, headers=AUTH | {"Origin": origin})).status_code == 200


@pytest.mark.parametrize(
    ("public", "origin", "is_refused"),
    [
        ("", "http://sluice.test", False), ("", "https://sluice.test", False), ("", "", True),
        ("http://localhost:8000", "http://localhost:8000", False), ("https://sluice.test", "http://sluice.test", True),
    ],
)  # fmt: skip
async def test_a_page_without_encryption_is_an_own_one_only_where_the_deployment_has_none(
    clock: ManualClock, public: str, origin: str, is_refused: bool
) -> None:
    async with make_world(None, clock, public_base_url=public or None) as world, http_client() as client:
        path = f"/api/jobs/{await world.enqueue()}/cancel"
        answer = await client.post(path, headers=BASIC | {"Origin": origin})
        assert (answer.status_code == 403) == is_refused


OUTPUTS = {
    "https://replicate.delivery/x.mp4": True,
    "http://replicate.delivery/x.mp4": False,
    "https://192.168.1.1/reboot": False,
    "https://0x7f.1/": False,
    "https://router/": False,
    "https://printer.local/": False,
    "https://api.internal/": False,
    "https://[::1]/x": False,
    "https://a@replicate.delivery/x": False,
    "https://replicate.delivery:8443/x": False,
    "https://replicate.delivery\\@evil.example/": False,
    "https://replicate.delivery:99999/x": False,
    "javascript://replicate.delivery/%0aalert(1)": False,
}


@pytest.mark.parametrize("output", OUTPUTS)
async def test_a_result_leads_only_to_public_names_by_https(valkey_world: World, output: str) -> None:
    async with http_client(**AUTH) as client:
        job_id = (await client.post("/api/submit", json=BODY)).json()["id"]
        valkey_world.provider.states["p1"] = Prediction("p1", "completed", output=output)
        assert (await client.post(await webhook_url(valkey_world, job_id), content=b"p1")).status_code == 200
        answer = await client.get(f"/api/jobs/{job_id}/result")
    if OUTPUTS[output]:
        assert (answer.status_code, answer.headers["location"]) == (303, output)
    else:
        assert (answer.status_code, answer.json()) == (200, {"output": output})


async def test_bodies_with_a_byte_order_mark_and_in_gzip_are_read(valkey_world: World) -> None:
    plain = json.dumps(BODY).encode()
    json_type = {"Content-Type": "application/json"}
    async with http_client(**AUTH, **json_type) as client:
        for number, (body, encoding) in enumerate(
            [
                (b"\xef\xbb\xbf" + plain, "identity"),
                (gzip.compress(plain), "gzip"),
                (gzip.compress(plain[:9]) + gzip.compress(b"") + gzip.compress(plain[9:]), "x-gzip"),
            ]
        ):
            headers = {"Content-Encoding": encoding, "Idempotency-Key": str(number)}
            assert (await client.post("/api/submit", content=body, headers=headers)).status_code == 202


async def test_a_packed_body_is_bounded_by_what_it_unpacks_to(valkey_world: World) -> None:
    bomb = gzip.compress(b" " * 50_000_000)
    whole, half = gzip.compress(b"{}"), gzip.compress(b" " * 400_000)
    broken = {
        413: [bomb, half * 2, half + bomb],
        400: [b"{}", whole[:-1], whole + b"more", whole + whole[:-1], gzip.compress(b"") * 101, gzip.compress(b"\xff")],
    }
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    async with http_client(**AUTH) as client:
        for status, bodies in broken.items():
            for body in bodies:
                answer = await client.post("/api/submit", content=body, headers=headers)
                problem(answer, status, "invalid_request")
        for encoding in ("br", "deflate", "gzip, gzip"):
            answer = await client.post(
                "/api/submit", content=zlib.compress(b"{}"), headers=headers | {"Content-Encoding": encoding}
            )
            assert problem(answer, 415, "invalid_request")["field"] == "Content-Encoding"


async def test_an_answer_before_the_body_has_the_common_headers(valkey_world: World) -> None:
    from functions.index import app

    async with served(app) as port, connected(port) as wire:
        await wire.send(head("POST", "/api/submit", Content_Length="9000000"))
        answer = (await wire.ended()).lower()
    assert b"connection: close" in answer and all(name.encode() in answer for name in HEADERS)
