"""All functions as one, for AWS Lambda with serverless-one.yml: a warm instance serves every call and the schedule."""

from shared.application import composing, create_app, create_handler
from shared.warming import Needs

with composing():
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
        tokens,
        uploads,
        users,
        verification,
        webhook,
    )

FUNCTIONS = (
    submit, status, jobs, batches, process_queue, webhook, health, operate, hooks, uploads, files, users, tokens,
    verification,
)  # fmt: skip
ROUTERS = tuple(function.router for function in FUNCTIONS)
NEEDS = Needs(
    services=[name for function in FUNCTIONS for name in function.NEEDS.services],
    verbs=[verb for function in FUNCTIONS for verb in function.NEEDS.verbs],
    calls_providers=True,
)
app = create_app(*ROUTERS)
handler = process_queue.with_schedule(create_handler(app, NEEDS))
