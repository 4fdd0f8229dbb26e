"""All functions as one FastAPI application, for Vercel and for uvicorn (``uvicorn functions.index:app``)."""

from fastapi import FastAPI

from functions.all_routes import FUNCTIONS as FUNCTIONS
from functions.all_routes import ROUTERS as ROUTERS
from shared.application import equip

app = equip(FastAPI(title="Sluice", openapi_url=None, docs_url=None, redoc_url=None), *ROUTERS)
