"""All functions as one application: what Vercel hosts and what uvicorn serves (``uvicorn functions.index:app``)."""

from functions import batches, health, jobs, operate, process_queue, status, submit, webhook
from shared.application import create_app

ROUTERS = (
    submit.router, status.router, jobs.router, batches.router, process_queue.router, webhook.router, health.router,
    operate.router,
)  # fmt: skip
app = create_app(*ROUTERS)
