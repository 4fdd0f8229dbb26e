"""The HTTP functions: authenticate, validate, call one verb, answer.

Each module but ``index`` has ``router`` (its routes), ``app`` (FastAPI with these routes alone) and ``handler`` (for
AWS Lambda).
``functions.index`` composes all of them into one application, for Vercel and uvicorn.
"""

import gc

# A start makes nothing but what stays: the collector would go through all of it again and again, which is a
# fourteenth of a cold start. create_handler switches it on, once everything is imported.
gc.disable()
