"""All functions as one application, for Vercel and for uvicorn (``uvicorn functions.index:app``)."""

from fastapi import FastAPI

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
from shared.application import equip
from shared.requests.router import Router

FUNCTIONS = (submit, status, jobs, batches, process_queue, webhook, health, operate, hooks, uploads, files, users)
ROUTERS: tuple[Router, ...] = tuple(function.router for function in FUNCTIONS)
app = equip(FastAPI(title="Sluice", openapi_url=None, docs_url=None, redoc_url=None), *ROUTERS)
