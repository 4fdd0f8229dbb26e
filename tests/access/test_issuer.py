"""JWTs of the application's own issuer: which prove a user, and which are refused."""

import json
from typing import Any

import httpx
import pytest

from shared.access.forms import MAX_TOKEN
from shared.clock import ManualClock
from tests.access.issuing import AUDIENCE, CLAIMS, ISSUER, NOW, SECRET, TAKES_JWTS, bearer, issued, part, signed
from tests.access.keys import KINDS, issuer, jwk, pem, private_key, signed_by
from tests.http.calls import BODY, problem
from tests.world import AUTH, OTHER_AUTH, World, http_client, make_world

BY_KEY = {name: value for name, value in TAKES_JWTS.items() if name != "jwt_secret"}
OF_ADA = {name: value for name, value in BODY.items() if name != "user_id"}
UNPROVED = {
    "another secret": signed(CLAIMS, key=b"another-secret-of-32-characters-or-more"),
    "none": f"{part({'alg': 'none', 'typ': 'JWT'})}.{part(CLAIMS)}.",
    "None": signed(CLAIMS, {"alg": "None"}),
    "another algorithm": signed(CLAIMS, {"alg": "HS512"}),
    "no algorithm": signed(CLAIMS, {"alg": ""}),
    "no signature": ".".join(issued().split(".")[:2]) + ".",
    "changed claims": ".".join([issued().split(".")[0], part(CLAIMS | {"sub": "bob"}), issued().split(".")[2]]),
    "no exp": issued(exp=None),
    "exp of text": issued(exp=str(NOW + 900)),
    "exp of no number": signed(json.dumps(CLAIMS).replace(str(NOW + 900), "NaN").encode()),
    "exp is true": issued(exp=True),
    "exp beyond any float": issued(exp=10**400),
    "nbf beyond any float": issued(nbf=10**400),
    "expired": issued(exp=NOW - 31),
    "not yet": issued(nbf=NOW + 31),
    "of the future": issued(iat=NOW + 31),
    "another issuer": issued(iss="https://elsewhere.test"),
    "no issuer": issued(iss=None),
    "another audience": issued(aud="another"),
    "no audience": issued(aud=None),
    "no user": issued(sub=None),
    "empty user": issued(sub=""),
    "user of no text": issued(sub=7),
    "user of control characters": issued(sub="a\x00da"),
    "user of a surrogate": signed(json.dumps(CLAIMS).replace('"ada"', '"\\ud800"').encode()),
    "long user": issued(sub="a" * 129),
    "unknown tier": issued(tier="gold"),
    "tier of no text": issued(tier=["pro"]),
    "critical header": signed(CLAIMS, {"crit": ["exp"]}),
    "empty critical header": signed(CLAIMS, {"crit": []}),
    "critical header that the library knows": signed(CLAIMS, {"crit": ["b64"], "b64": True}),
    "unencoded payload": signed(CLAIMS, {"b64": False}),
    "type of an id token for others": signed(CLAIMS, {"typ": "logout+jwt"}),
    "type of ours": signed(CLAIMS, {"typ": "sluice+jwt"}),
    "type of no text": signed(CLAIMS, {"typ": 5}),
    "key id of no text": signed(CLAIMS, {"kid": ["a"]}),
    "long": issued(more="x" * MAX_TOKEN),
    "header of no JSON": f"{part(b'{')}.{part(CLAIMS)}.{part(b'x')}",
    "header of no object": f"{part([])}.{part(CLAIMS)}.{part(b'x')}",
    "deep header": f"{part(b'[' * 2000)}.{part(CLAIMS)}.{part(b'x')}",
    "claims of no object": signed([CLAIMS]),
    "deep claims": signed(b"[" * 2000),
    "header of no base64": f"A.{part(CLAIMS)}.{part(b'x')}",
}


@pytest.mark.parametrize("name", UNPROVED)
async def test_a_jwt_that_proves_no_user_is_refused(client: httpx.AsyncClient, name: str) -> None:
    answer = await client.get("/api/jobs", headers=bearer(UNPROVED[name]))
    problem(answer, 401, "invalid_token")
    assert UNPROVED[name].split(".")[1][:20] not in answer.text
    if name in ("user of no text", "claims of no object"):
        assert "signature" not in answer.json()["detail"]


@pytest.mark.parametrize(
    ("header", "claims"),
    [
        ({}, {}), ({"typ": "at+jwt"}, {}), ({}, {"aud": ["other", AUDIENCE]}), ({}, {"exp": NOW - 29}),
        ({}, {"nbf": NOW + 29}), ({}, {"exp": NOW + 0.5}), ({"kid": "unused"}, {}), ({"jku": "https://evil.test"}, {}),
    ],
)  # fmt: skip
async def test_a_jwt_of_the_issuer_proves_its_user(
    world: World, client: httpx.AsyncClient, header: dict[str, Any], claims: dict[str, Any]
) -> None:
    ada = bearer(signed(CLAIMS | claims, header))
    job = (await client.post("/api/submit", json=OF_ADA, headers=ada)).json()["id"]
    record = await world.runtime.records.read(job)
    assert (record.owner, record.user) == ("app", "ada")
    assert (await client.get(f"/api/status/{job}", headers=OTHER_AUTH)).status_code == 404
    for path in ("/api/tokens", f"/api/jobs/{job}/retry"):
        problem(await client.post(path, json={"user_id": "ada"}, headers=ada), 403, "scope_missing")


async def test_a_claim_is_the_tier(world: World, client: httpx.AsyncClient) -> None:
    for claims, tier in (({"tier": "pro"}, "pro"), ({}, "free")):
        ada = bearer(issued(**claims))
        job = (await client.post("/api/submit", json=OF_ADA, headers=ada)).json()["id"]
        assert await world.raw("HGET", world.runtime.queue.keys.job(job), "tier") == tier
        refused = await client.post("/api/submit", json=OF_ADA | {"tier": "premium"}, headers=ada)
        assert problem(refused, 403, "not_permitted")["field"] == "tier"
    world.another_process(jwt_tier_claim="plan")
    job = (await client.post("/api/submit", json=OF_ADA, headers=bearer(issued(plan="premium")))).json()["id"]
    assert await world.raw("HGET", world.runtime.queue.keys.job(job), "tier") == "premium"


async def test_a_deployment_without_an_issuer_takes_no_jwt() -> None:
    async with make_world(None, ManualClock()), http_client() as client:
        problem(await client.get("/api/jobs", headers=bearer(issued())), 401, "invalid_token")


@pytest.mark.parametrize("kind", KINDS)
async def test_a_public_key_verifies_its_own_algorithm_alone(kind: str) -> None:
    settings = BY_KEY | {"jwt_public_key": pem(kind).replace("\n", "\\n")}
    async with make_world(None, ManualClock(), **settings), http_client() as client:
        assert (await client.get("/api/jobs", headers=bearer(signed_by(kind)))).status_code == 200
        forged = [
            signed_by(kind, 1),
            *(signed_by(other) for other in KINDS if other != kind),
            # The public key is public: as an HMAC secret it would let anyone sign.
            signed(CLAIMS, key=pem(kind).encode()),
            signed(CLAIMS, {"alg": kind}, key=pem(kind).encode()),
            UNPROVED["none"],
        ]
        for token in forged:
            problem(await client.get("/api/jobs", headers=bearer(token)), 401, "invalid_token")


async def test_a_key_set_is_asked_once_and_its_keys_go_on_while_it_is_down() -> None:
    clock = ManualClock()
    async with issuer(jwk("RS256", "a"), jwk("ES256", "b"), jwk("EdDSA", "c")) as published:
        settings = BY_KEY | {"jwt_jwks_url": published.url, "allow_loopback": True}
        async with make_world(None, clock, **settings), http_client() as client:
            assert published.asked == 0

            async def status(token: str) -> int:
                return (await client.get("/api/jobs", headers=bearer(token))).status_code

            soon = {"exp": NOW + 100_000}
            known = [signed_by(kind, kid=kid, **soon) for kind, kid in zip(KINDS, "abc", strict=True)]
            assert [await status(token) for token in known] == [200] * 3 and published.asked == 1
            unknown = signed_by("RS256", 1, kid="new", **soon)
            assert [await status(unknown) for _ in range(5)] == [401] * 5 and published.asked == 1
            published.keys.append(jwk("RS256", "new", 1))
            clock.advance(61)
            assert await status(unknown) == 200 and published.asked == 2
            published.status = 500
            clock.advance(601)
            assert [await status(token) for token in [*known, unknown]] == [200] * 4 and published.asked == 3
            other = await client.get("/api/jobs", headers=bearer(signed_by("RS256", 2, kid="other", **soon)))
            assert problem(other, 503, "token_keys_unavailable")["retryable"] and other.headers["retry-after"] == "10"
            assert published.asked == 3
            published.status, published.keys = 200, [jwk("ES256", "b")]
            clock.advance(61)
            assert [await status(token) for token in [*known, unknown]] == [401, 200, 401, 401]
            assert published.asked == 4
            assert (await client.get("/api/jobs", headers=AUTH)).status_code == 200


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"keys": 5}', b"[" * 2000, b'{"keys": [' + b'{"kty": "RSA"},' * 9000 + b"{}]}"]
)
async def test_a_key_set_that_cannot_be_read_is_503_until_it_can(body: bytes) -> None:
    clock = ManualClock()
    async with issuer(jwk("RS256", "a")) as published:
        published.body = body
        settings = BY_KEY | {"jwt_jwks_url": published.url, "allow_loopback": True}
        async with make_world(None, clock, **settings), http_client() as client:
            headers = bearer(signed_by("RS256", kid="a"))
            for _ in range(3):
                problem(await client.get("/api/jobs", headers=headers), 503, "token_keys_unavailable")
            assert published.asked == 1
            published.body = None
            clock.advance(11)
            assert (await client.get("/api/jobs", headers=headers)).status_code == 200


async def test_keys_of_a_set_that_cannot_be_trusted_verify_nothing() -> None:
    secret = {"kty": "oct", "kid": "secret", "k": part(SECRET.encode())}
    weak = jwk("RS256 short", "short")
    odd = [secret, weak, jwk("ES384", "curve"), jwk("RS256", "use", use="enc"), jwk("RS256", "alg", alg="RS512"), {}]
    async with issuer(*odd, jwk("RS256", "right")) as published:
        settings = BY_KEY | {"jwt_jwks_url": published.url, "allow_loopback": True}
        async with make_world(None, ManualClock(), **settings), http_client() as client:
            assert (
                await client.get("/api/jobs", headers=bearer(signed_by("RS256")))
            ).status_code == 200  # the only key
            for token in (
                signed(CLAIMS, {"kid": "secret"}), signed_by("RS256", kid="use"), signed_by("RS256", kid="alg"),
            ):  # fmt: skip
                problem(await client.get("/api/jobs", headers=bearer(token)), 401, "invalid_token")


async def test_a_key_set_inside_the_network_is_not_asked() -> None:
    """The guard of callers' addresses holds for this one too."""
    settings = BY_KEY | {"jwt_jwks_url": "https://127.0.0.1/jwks"}
    async with make_world(None, ManualClock(), **settings), http_client() as client:
        answer = await client.get("/api/jobs", headers=bearer(signed_by("RS256", kid="a")))
        problem(answer, 503, "token_keys_unavailable")


def test_a_private_key_is_no_public_key() -> None:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    from shared.access.jwt_keys import key_of_pem

    text = private_key("EdDSA").private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    assert key_of_pem(text) is None and key_of_pem(pem("RS256 short")) is None and key_of_pem(pem("ES384")) is None
    assert key_of_pem("no key") is None and ISSUER
