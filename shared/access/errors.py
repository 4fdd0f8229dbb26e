"""Errors of a caller with a right credential, who may not do what the request asks for.

403  ScopeMissing, with WWW-Authenticate; NotPermitted
"""

from shared.errors import FixedProblem, Problem


class CrossSite(FixedProblem):
    """A browser sent the key that it remembers, because a page of another site asked it to."""

    code = "cross_site"
    http_status = 403
    title = "The call comes from another site"
    reason = "HTTP Basic is not accepted from a page of another site. Open this address by itself."


class ScopeMissing(Problem):
    """The credential is right, and lacks the scope that the operation needs."""

    code = "scope_missing"
    http_status = 403
    title = "The credential lacks a scope"

    def __init__(self, scope: str) -> None:
        super().__init__(f"This needs a credential with the scope {scope}.")
        self.scope = scope

    def headers(self) -> dict[str, str]:
        challenge = f'Bearer realm="sluice", error="insufficient_scope", scope="{self.scope}"'  # RFC 6750, section 3.1
        return {**super().headers(), "WWW-Authenticate": challenge}


class NotPermitted(Problem):
    """The credential has the scope, and does not allow what the request asks for."""

    code = "not_permitted"
    http_status = 403
    title = "The credential does not allow this"
