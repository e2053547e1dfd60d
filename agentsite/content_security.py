"""The content security policy of pages: no inline code, and no other origin.

A template that must have an inline script or style writes `nonce="{{ csp_nonce }}"`.
Django 6 has a policy and a nonce of the same name of its own, and Django 5.2 has none.
"""

import secrets

from django.http import HttpRequest

HEADER = "Content-Security-Policy"


class Nonce:
    """The nonce of one response, made when a template first writes it."""

    def __init__(self) -> None:
        self.value = ""

    def __str__(self) -> str:
        self.value = self.value or secrets.token_urlsafe(16)
        return self.value


def nonce_of(request: HttpRequest) -> Nonce:
    """Return the nonce of the response to a request."""
    nonce: Nonce = vars(request).setdefault("csp_nonce", Nonce())
    return nonce


def csp(request: HttpRequest) -> dict[str, object]:
    """Give templates `csp_nonce`: a context processor."""
    return {"csp_nonce": nonce_of(request)}


def policy(nonce: str = "") -> str:
    """Return the policy of a page that has none of its own."""
    inline = f" 'nonce-{nonce}'" if nonce else ""
    return "; ".join(
        (
            "default-src 'self'",
            f"script-src 'self'{inline}",
            f"style-src 'self'{inline}",
            "img-src 'self' data:",
            "object-src 'none'",
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        )
    )
