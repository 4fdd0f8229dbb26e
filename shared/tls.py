"""The certificates that connections are checked against."""

import functools
import ssl

import httpx


@functools.cache
def tls_context() -> ssl.SSLContext:
    """Returns the process's one context, as httpx builds it: SSL_CERT_FILE and SSL_CERT_DIR count, else certifi's list.

    Reading the list takes 30 ms of CPU, and a client that builds a context of its own reads it anew.
    """
    return httpx.create_ssl_context()
