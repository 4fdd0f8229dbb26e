"""All functions as one, for AWS Lambda with serverless-one.yml: a warm instance serves every call and the schedule."""

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
from functions.process_queue import with_schedule
from shared.application import create_app, create_handler

FUNCTIONS = (submit, status, jobs, batches, process_queue, webhook, health, operate, hooks, uploads, files, users)
ROUTERS = tuple(function.router for function in FUNCTIONS)
app = create_app(*ROUTERS)
handler = with_schedule(create_handler(app))
