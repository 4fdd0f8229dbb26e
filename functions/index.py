"""All functions as one application: what Vercel hosts and what uvicorn serves (``uvicorn functions.index:app``)."""

from functions import health, jobs, process_queue, status, submit, webhook
from shared.application import create_app

app = create_app(submit.router, status.router, jobs.router, process_queue.router, webhook.router, health.router)
