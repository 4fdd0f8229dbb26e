"""The HTTP functions: authenticate, validate, call one verb, answer.

Each module except ``index`` has ``router`` (its routes), ``app`` (Starlette with only these routes) and ``handler``
(for AWS Lambda). ``functions.index`` composes all of them into one FastAPI application, for Vercel and uvicorn.
"""

import gc

# All objects of a start stay. The garbage collector would search them again and again, which takes a fourteenth of a
# cold start. end_start switches it on, once, after all imports.
gc.disable()
