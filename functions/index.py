"""All functions as one FastAPI application, for Vercel and for uvicorn (``uvicorn functions.index:app``)."""

from fastapi import FastAPI

from shared.application import composing, end_start, equip

with composing():
    from functions.all_routes import FUNCTIONS as FUNCTIONS
    from functions.all_routes import ROUTERS as ROUTERS

app = equip(FastAPI(title="Sluice", openapi_url=None, docs_url=None, redoc_url=None), *ROUTERS)
end_start()
