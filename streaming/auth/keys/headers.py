"""The API key of a request, taken out of its headers.

After it is read, no header has the secret: not the ones that the view sees, nor those
that the server or a report of an error keeps.
"""

from django.http import HttpRequest

from streaming.auth.keys.material import KeyProof, is_key, prove
from streaming.exceptions import Unauthenticated

_HEADERS = {"HTTP_AUTHORIZATION": b"authorization", "HTTP_X_API_KEY": b"x-api-key"}
HIDDEN = "***"
INVALID = "The API key is not valid."


def take_key(request: HttpRequest) -> KeyProof | None:
    """Return the proof of the request's key, and remove the key from the request.

    None: the request has no key of this app. A token of another form may belong to
    another authenticator. Raises `Unauthenticated` for a malformed key, and for two
    different ones.
    """
    proofs = set()
    for name, header in _HEADERS.items():
        text = _credential(request.META.get(name, ""), is_bearer=header != b"x-api-key")
        if not is_key(text):
            continue
        _hide(request, name, header)
        try:
            proofs.add(prove(text))
        except ValueError:
            raise Unauthenticated(INVALID) from None
    if len(proofs) > 1:
        raise Unauthenticated("The request has two different API keys.")
    return proofs.pop() if proofs else None


def _credential(value: str, *, is_bearer: bool) -> str:
    if not is_bearer:
        return value.strip()
    scheme, _, credential = value.strip().partition(" ")
    return credential.strip() if scheme.lower() == "bearer" else ""


def _hide(request: HttpRequest, name: str, header: bytes) -> None:
    """Replace a header in the request, and in the scope that the server keeps."""
    request.META[name] = HIDDEN
    vars(request).pop("headers", None)  # cached by Django
    headers = getattr(request, "scope", {}).get("headers")
    if isinstance(headers, list):
        headers[:] = [
            (key, HIDDEN.encode() if key == header else value) for key, value in headers
        ]
