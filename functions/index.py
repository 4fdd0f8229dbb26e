"""All functions as one application, for Vercel and for uvicorn (``uvicorn functions.index:app``)."""

from fastapi import APIRouter

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

FUNCTIONS = (submit, status, jobs, batches, process_queue, webhook, health, operate, hooks, uploads, files, users)
ROUTERS: tuple[APIRouter, ...] = tuple(function.router for function in FUNCTIONS)
app = create_app(*ROUTERS)
