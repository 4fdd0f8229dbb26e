"""All functions as one application, for Vercel and for uvicorn (``uvicorn functions.index:app``)."""

from functions import (
    batches,
    files,
    health,
    hooks,
    jobs,
    operate,
    process_queue,
    status,
    submit,
    uploads,
    users,
    webhook,
)
from shared.application import create_app

ROUTERS = (
    submit.router, status.router, jobs.router, batches.router, process_queue.router, webhook.router, health.router,
    operate.router, hooks.router, uploads.router, files.router, users.router,
)  # fmt: skip
app = create_app(*ROUTERS)
