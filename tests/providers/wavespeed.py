"""A WaveSpeed provider for tests, and bodies as its API sends them."""

from typing import Any

from shared.providers.base import Submission
from shared.providers.wavespeed import WaveSpeed, WaveSpeedSettings
from tests.world import settings_for

BASE = "https://api.wavespeed.ai/api/v3"
CREATE = f"{BASE}/bytedance/seedance-v1"
KEY = "ws-key-in-tests"
HOOK = "https://s.example/api/webhook/wavespeed?job=job_1&attempt=1&nonce=ab"
# The inputs are those of the vector for v1. The signature was computed by hand with the documented algorithm.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ID, STAMP, BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
SIGNATURE = "v3,10b86a1b42aed60c0e7357f88f229da774851852c039d27d6efa562dc8826a42"
HEADERS = {"webhook-id": ID, "webhook-timestamp": str(STAMP), "webhook-signature": SIGNATURE}


def submission(model: str = "bytedance/seedance-v1", webhook: str | None = HOOK, **given: Any) -> Submission:
    return Submission("job_1", 1, model, {"prompt": "x", **given}, webhook, 90)


def task(**changes: Any) -> dict[str, Any]:
    return {"id": "t1", "model": "bytedance/seedance-v1", "status": "created", "outputs": [], "error": "", **changes}


def envelope(code: Any = 200, message: str = "success", /, **data: Any) -> dict[str, Any]:
    return {"code": code, "message": message, **({"data": data} if data else {})}


def provider_for(secret: str | None = SECRET, base_url: str = BASE, **changes: Any) -> WaveSpeed:
    own = WaveSpeedSettings(wavespeed_api_key=KEY, wavespeed_webhook_secret=secret, wavespeed_base_url=base_url)
    return WaveSpeed(settings_for(None, **changes), own)
