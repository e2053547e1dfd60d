"""The text of keys, and the headers in which they arrive."""

import pytest
from django.http import HttpRequest
from django.test import AsyncRequestFactory

from streaming.auth.keys.headers import take_key
from streaming.auth.keys.material import NewKey, hide_keys, is_key, prove
from streaming.exceptions import Unauthenticated

#: Fixed, since the names of tests must be: none of them is valid anywhere.
KEY = NewKey("0123456789ab", f"agk_0123456789ab_{'0aZ_-' * 8}abc")
OTHER = NewKey("cdef01234567", f"agk_cdef01234567_{'1bY_-' * 8}def")


def request(*headers: tuple[str, bytes]) -> HttpRequest:
    """Return a request as a server would pass it on, with any bytes in its headers."""
    made = AsyncRequestFactory().get("/")
    raw = [(name.encode(), value) for name, value in headers]
    return type(made)({**made.scope, "headers": raw}, made._stream)


def test_a_key_has_256_random_bits_and_is_recognised_by_its_hash() -> None:
    prefix, secret = KEY.text.removeprefix("agk_").split("_", 1)
    assert (prefix, len(secret) * 6 >= 256) == (KEY.prefix, True)
    proof = prove(KEY.text)
    assert (proof.prefix, proof.secret_hash) == (KEY.prefix, KEY.secret_hash)
    assert secret not in proof.secret_hash
    assert len({NewKey.make().text for _ in range(100)}) == 100


def test_no_representation_has_the_secret() -> None:
    secret = KEY.text[-43:]
    assert secret not in repr(KEY)
    assert secret not in repr(prove(KEY.text))
    assert hide_keys(f"at {KEY.text}!") == f"at agk_{KEY.prefix}_***!"


@pytest.mark.parametrize(
    "text",
    ["", "agk_", KEY.text[:-1], f"{KEY.text}x", KEY.text.replace("agk_", "agk-")],
)
def test_other_texts_are_no_keys(text: str) -> None:
    with pytest.raises(ValueError, match="not an API key"):
        prove(text)
    assert is_key(text) is text.startswith("agk_")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("authorization", f"Bearer {KEY.text}"),
        ("authorization", f"bearer   {KEY.text} "),
        ("x-api-key", KEY.text),
    ],
)
def test_a_key_is_taken_out_of_the_request(name: str, value: str) -> None:
    got = request((name, value.encode()), ("accept", b"*/*"))
    assert got.headers[name] == value  # caches the headers
    proof = take_key(got)
    assert proof == prove(KEY.text)
    secret = KEY.text[-43:]
    for kept in (got.META, got.headers, got.scope, vars(got)):  # type: ignore[attr-defined]  # of ASGI
        assert secret not in repr(kept)
    assert got.headers["accept"] == "*/*"


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("authorization", b"")],
        [("authorization", b"Bearer")],
        [("authorization", b"Bearer ")],
        [("authorization", b"Basic YTpi")],
        [("authorization", b"Bearer a.jwt.of-another")],
        [("authorization", "Bearer schlüssel".encode("latin-1"))],
        [("authorization", b"\xff\xfe\x00")],
        [("authorization", b"Bearer " + b"x" * 60_000)],
        [("x-api-key", b"sk-of-another")],
        [("authorization", KEY.text.encode())],
    ],
)
def test_other_credentials_are_left_to_other_authenticators(
    headers: list[tuple[str, bytes]],
) -> None:
    got = request(*headers)
    before = dict(got.META)
    assert take_key(got) is None
    assert before == got.META


@pytest.mark.parametrize(
    "headers",
    [
        [("authorization", b"Bearer agk_")],
        [("authorization", f"Bearer {KEY.text[:-1]}".encode())],
        [("authorization", f"Bearer {KEY.text}".encode() + b"\xe9")],
        [("authorization", b"Bearer agk_" + b"x" * 60_000)],
        [("authorization", f"Bearer {KEY.text}".encode())] * 2,
        [
            ("authorization", f"Bearer {KEY.text}".encode()),
            ("x-api-key", OTHER.text.encode()),
        ],
    ],
)
def test_a_malformed_key_is_refused(headers: list[tuple[str, bytes]]) -> None:
    got = request(*headers)
    with pytest.raises(Unauthenticated) as refused:
        take_key(got)
    assert KEY.text[-43:] not in refused.value.message
    assert KEY.text[-43:-1] not in repr(got.META)


def test_the_same_key_in_both_headers_is_one_key() -> None:
    both = [
        ("authorization", f"Bearer {KEY.text}".encode()),
        ("x-api-key", KEY.text.encode()),
    ]
    assert take_key(request(*both)) == prove(KEY.text)
