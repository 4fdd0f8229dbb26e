"""Codes over HTTP: a real SMTP server, a real store, and proofs that an application verifies by itself."""

import re
from typing import Any

import httpx
import jwt
import pytest

from local.rest_server.running import RunningServer
from shared.clock import ManualClock, SystemClock
from shared.verification.proof import PROOF_LIFE, make_proof
from tests.http.calls import problem
from tests.post import Post, text_of
from tests.project import ROOT
from tests.verification.conftest import SENDER
from tests.world import AUTH, OPERATOR, OTHER_AUTH, World, http_client, make_world

EMAIL = "ada@example.com"


async def send(client: httpx.AsyncClient, email: str = EMAIL, **more: Any) -> httpx.Response:
    return await client.post("/api/verification/send", json={"email": email, **more})


async def check(client: httpx.AsyncClient, code: str, email: str = EMAIL, **more: Any) -> httpx.Response:
    return await client.post("/api/verification/check", json={"email": email, "code": code, **more})


def wrong(code: str) -> str:
    return f"{(int(code) + 1) % 1_000_000:06}"


async def test_a_code_that_came_by_mail_proves_the_address_once(
    world: World, client: httpx.AsyncClient, post: Post
) -> None:
    sent = await send(client, "Ada@Example.com")
    assert sent.status_code == 202
    assert sent.json() == {
        "email": EMAIL, "expires_at": "2027-01-15T08:10:00.000Z", "again_at": "2027-01-15T08:01:00.000Z",
    }  # fmt: skip
    assert post.recipients == ["Ada@example.com"], "only a mailbox' own server knows what case means"
    verified = await check(client, post.code())
    assert verified.status_code == 200 and verified.json()["email"] == EMAIL
    problem(await check(client, post.code()), 422, "code_invalid")


async def test_an_application_verifies_the_proof_by_itself(world: World, client: httpx.AsyncClient, post: Post) -> None:
    key = (await client.get("/api/verification/key")).json()
    await send(client)
    answer = (await check(client, post.code())).json()

    def read(key: dict[str, str]) -> dict[str, Any]:
        names: dict[str, Any] = {"algorithms": [key["algorithm"]], "audience": key["audience"]}
        # The clock of the tests is not that of the library.
        claims: dict[str, Any] = jwt.decode(
            answer["proof"],
            key["key"],
            issuer=key["issuer"],
            options={"verify_exp": False, "verify_iat": False},
            **names,
        )
        return claims

    claims = read(key)
    now = world.clock.now() // 1000
    assert (claims["iat"], claims["exp"]) == (now, now + PROOF_LIFE)
    assert answer["expires_at"] == "2027-01-15T08:10:00.000Z"
    assert {
        "iss": "sluice",
        "aud": "app",
        "sub": EMAIL,
        "email": EMAIL,
        "email_verified": True,
    }.items() <= claims.items()
    assert re.fullmatch(r"[0-9a-f]{32}", claims["jti"])
    other = (await client.get("/api/verification/key", headers=OTHER_AUTH)).json()
    assert other["audience"] == "other"
    with pytest.raises(jwt.InvalidSignatureError):
        read(other)


async def test_the_documents_function_reads_a_proof_and_nothing_else(post: Post) -> None:
    names: dict[str, Any] = {}
    (snippet,) = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs/verification.md").read_text(), re.M | re.S)
    exec(snippet, names)  # noqa: S102 (the document's own)
    read = names["verified_address"]
    clock, mail = SystemClock(), {"smtp_url": post.url, "mail_from": SENDER}
    async with make_world(None, clock, **mail) as world, http_client(**AUTH) as client:
        key = (await client.get("/api/verification/key")).json()["key"]
        await send(client)
        proof = (await check(client, post.code())).json()["proof"]
        assert read(proof, key, "app") == EMAIL
        secret = world.runtime.settings.signing_key
        old = make_proof(secret, "app", EMAIL, clock.now() - (PROOF_LIFE + 1) * 1000).token
        other = make_proof(secret, "other", EMAIL, clock.now()).token
        unsigned = jwt.encode(jwt.decode(proof, options={"verify_signature": False}), "", algorithm="none")
        for given in ((proof, key, "other"), (proof, "0" * 64, "app"), (old, key, "app"), (other, key, "app"),
                      (unsigned, key, "app"), ("nonsense", key, "app")):  # fmt: skip
            with pytest.raises(jwt.PyJWTError):
                read(*given)


async def test_a_code_belongs_to_its_address_and_its_api_key(
    world: World, client: httpx.AsyncClient, post: Post
) -> None:
    await send(client)
    problem(await check(client, post.code(), "bob@example.com"), 422, "code_invalid")
    async with http_client(**OTHER_AUTH) as other:
        problem(await check(other, post.code()), 422, "code_invalid")
        assert (await send(other)).status_code == 202, "the limits of an address are those of one API key"
    assert (await check(client, text_of(post.mails[0]).split()[4])).status_code == 200


async def test_known_and_unknown_addresses_get_the_same_answers(
    world: World, client: httpx.AsyncClient, post: Post
) -> None:
    await send(client)
    await check(client, post.code())
    world.manual.advance(60)
    known, unknown = await send(client), await send(client, "bob@example.com")
    assert known.json() | {"email": ""} == unknown.json() | {"email": ""}
    assert known.headers == unknown.headers
    missing = await check(client, wrong(post.code()), "eve@example.com")
    assert missing.content == (await check(client, wrong(post.code()), "bob@example.com")).content


@pytest.mark.parametrize(("language", "words"), [("en", "valid for 10 minutes"), ("zh", "10 分钟内有效")])
async def test_the_mail_is_written_in_the_language_that_was_asked_for(
    world: World, client: httpx.AsyncClient, post: Post, language: str, words: str
) -> None:
    await send(client, language=language)
    (mail,) = post.mails
    assert mail["From"] == SENDER and mail["To"] == EMAIL
    assert words in text_of(mail) and words in text_of(mail, "html") and post.code() in text_of(mail, "html")
    assert "Acme" in mail["Subject"] and post.code() not in mail["Subject"], "a locked screen shows subjects"


async def test_a_code_is_gone_after_ten_minutes(world: World, client: httpx.AsyncClient, post: Post) -> None:
    await send(client)
    world.manual.advance(600)
    problem(await check(client, post.code()), 422, "code_invalid")


async def test_a_code_is_gone_after_five_tries(world: World, client: httpx.AsyncClient, post: Post) -> None:
    await send(client)
    answers = [(await check(client, wrong(post.code()))).content for _ in range(5)]
    problem(await check(client, post.code()), 422, "code_invalid")
    unknown = await check(client, post.code(), "nobody@example.com")
    assert {*answers, unknown.content} == {(await check(client, post.code())).content}, "no answer says what is wrong"


async def test_a_new_code_replaces_the_one_before(world: World, client: httpx.AsyncClient, post: Post) -> None:
    await send(client)
    world.manual.advance(60)
    await send(client)
    first, second = (text_of(mail).split()[4] for mail in post.mails)
    problem(await check(client, first if first != second else wrong(second)), 422, "code_invalid")
    assert (await check(client, second)).status_code == 200


async def test_an_address_gets_one_code_a_minute_and_ten_a_day(
    world: World, client: httpx.AsyncClient, post: Post
) -> None:
    await send(client)
    world.manual.advance(59)
    answer = await send(client)
    assert problem(answer, 429, "verification_limited")["field"] == "email"
    assert answer.headers["retry-after"] == "1"
    for _ in range(9):
        world.manual.advance(60)
        assert (await send(client)).status_code == 202
    world.manual.advance(60)
    answer = await send(client)
    assert "ten codes within a day" in problem(answer, 429, "verification_limited")["detail"]
    world.manual.advance(int(answer.headers["retry-after"]))
    assert (await send(client)).status_code == 202
    assert len(post.mails) == 11


async def test_the_calls_of_a_client_address_are_limited(clock: ManualClock, post: Post) -> None:
    changes: dict[str, Any] = {"smtp_url": post.url, "mail_from": SENDER, "verification_client_rate": "3/hour"}
    async with make_world(None, clock, **changes) as world, http_client(**AUTH) as client:
        there = {"client_address": "2001:4860::1"}
        for number in range(2):
            assert (await send(client, f"user{number}@example.com", **there)).status_code == 202
        problem(await check(client, "000000", "nobody@example.com", client_address="2001:4860::2"), 422, "code_invalid")
        answer = await check(client, post.code(), "user1@example.com", **there)
        assert problem(answer, 429, "verification_limited")["detail"].endswith("sends client_address.")
        assert answer.headers["retry-after"] == "3600"
        assert answer.headers["ratelimit-policy"] == '"client";q=3;w=3600'
        assert answer.headers["ratelimit"] == '"client";r=0;t=3600'
        problem(await send(client, "user3@example.com", **there), 429, "verification_limited")
        assert (await send(client, "user4@example.com", client_address="2001:4860:0:1::1")).status_code == 202
        # The try that was refused has used up none.
        world.manual.advance(500)
        elsewhere = await check(client, text_of(post.mails[1]).split()[4], "user1@example.com")
        assert elsewhere.status_code == 200


async def test_without_client_address_the_callers_own_counts(clock: ManualClock, post: Post) -> None:
    from functions.index import app

    changes: dict[str, Any] = {"smtp_url": post.url, "mail_from": SENDER, "verification_client_rate": "1/hour"}
    async with make_world(None, clock, **changes):
        for address, expected in (("93.184.215.14", 202), ("93.184.215.14", 429), ("93.184.215.15", 202)):
            transport = httpx.ASGITransport(app=app, client=(address, 1))
            forged = AUTH | {"X-Forwarded-For": f"8.8.8.{expected % 7}", "X-Vercel-Forwarded-For": "8.8.4.4"}
            async with httpx.AsyncClient(transport=transport, base_url="http://sluice.test", headers=forged) as client:
                assert (await send(client, f"user{expected}{address[-1]}@example.com")).status_code == expected


@pytest.mark.parametrize("entry", [EMAIL, "example.com", "@example.com"])
async def test_what_the_setting_blocks_gets_no_code_and_costs_no_call_of_the_store(
    clock: ManualClock, post: Post, entry: str, valkey: RunningServer
) -> None:
    changes: dict[str, Any] = {"smtp_url": post.url, "mail_from": SENDER, "verification_blocked": f"x.dev, {entry}"}
    async with make_world(valkey, clock, **changes), http_client(**AUTH) as client:
        valkey.reset_bill()
        problem(await send(client, "Ada+1@example.com"), 403, "address_blocked")
        assert valkey.bill().calls == 0 and post.mails == []


async def test_the_operator_blocks_addresses_and_domains_and_lists_them(
    world: World, client: httpx.AsyncClient, post: Post
) -> None:
    entries = ["Mallory@Example.com", "spam.example", "münchen.example"]
    async with http_client(**OPERATOR) as operator:
        changed = await operator.patch("/api/operate/blocked", json={"add": entries, "remove": ["x.dev"]})
        assert changed.json() == {"count": 3}
        assert (await operator.patch("/api/operate/blocked", json={"add": entries})).json() == {"count": 3}
        page = (await operator.get("/api/operate/blocked?limit=2")).json()
        assert page == {"entries": ["mallory@example.com", "spam.example"], "next_cursor": "spam.example"}
        rest = (await operator.get("/api/operate/blocked?limit=2&cursor=spam.example")).json()
        assert rest == {"entries": ["xn--mnchen-3ya.example"], "next_cursor": None}
        for email in ("mallory+2@example.com", "eve@spam.example", "eve@mail.spam.example", "eve@münchen.example"):
            problem(await send(client, email), 403, "address_blocked")
        assert (await send(client, "eve@notspam.example")).status_code == 202
        await operator.patch("/api/operate/blocked", json={"remove": ["spam.example", "mallory@example.com"]})
        assert (await send(client, "eve@spam.example")).status_code == 202


async def test_a_deployment_without_mail_says_so(clock: ManualClock) -> None:
    async with make_world(None, clock), http_client(**AUTH) as client:
        problem(await send(client), 409, "no_mail")


ADDRESSES = [
    "ada", "@example.com", "ada@", "ada@localhost", "ada@intern.local", "ada@10.0.0.1", "ada@[10.0.0.1]",
    "a b@example.com", "ada@exa mple.com", "ada\r\nBcc: eve@example.com", "ada@example.com\n", ".ada@example.com",
    "a..a@example.com", '"ada"@example.com', "ада@example.com", "ada@-.com", "a" * 65 + "@example.com",
    "ada@" + "a" * 250 + ".com", "ada,eve@example.com", "ada@example.com,eve@example.com", "<ada@example.com>",
    "ada@xn--a.com\u2028",
]  # fmt: skip


@pytest.mark.parametrize("email", ADDRESSES)
async def test_what_is_no_address_is_refused_and_not_echoed(clock: ManualClock, post: Post, email: str) -> None:
    async with make_world(None, clock, smtp_url=post.url, mail_from=SENDER), http_client(**AUTH) as client:
        answer = await send(client, email)
        assert problem(answer, 422, "invalid_request")["field"] == "email"
        assert email not in answer.text and post.mails == []


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"code": "12345"}, "code"), ({"code": "1234567"}, "code"), ({"code": "12345a"}, "code"),
        ({"code": 123456}, "code"), ({"code": "\uff11" * 6}, "code"), ({"email": None}, "email"),
        ({"client_address": "host"}, "client_address"), ({"client_address": "1.2.3.4, 5.6.7.8"}, "client_address"),
        ({"more": 1}, "more"),
    ],
)  # fmt: skip
async def test_a_check_names_the_field_that_is_not_valid(
    world: World, client: httpx.AsyncClient, changes: dict[str, Any], field: str
) -> None:
    answer = await client.post("/api/verification/check", json={"email": EMAIL, "code": "123456"} | changes)
    assert problem(answer, 422, "invalid_request")["field"] == field
