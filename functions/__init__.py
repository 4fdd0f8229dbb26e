"""The HTTP functions: authenticate, validate, call one verb, answer.

Each module but ``index`` has ``router`` (its routes), ``app`` (FastAPI with these routes alone) and ``handler`` (for
AWS Lambda).
``functions.index`` composes all of them into one application, for Vercel and uvicorn.
"""
