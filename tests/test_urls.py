"""Server URLs in one spelling, origins, and secrets that do not reach a message."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ayon_async.errors import UsageError
from ayon_async.urls import normalize_url, origin, redact


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://ayon.example.com", "https://ayon.example.com"),
        ("  https://ayon.example.com/  ", "https://ayon.example.com"),
        ("HTTPS://AYON.Example.COM/", "https://ayon.example.com"),
        ("https://ayon.example.com:443/api/", "https://ayon.example.com"),
        ("http://ayon.example.com:80", "http://ayon.example.com"),
        ("http://ayon.example.com:443", "http://ayon.example.com:443"),
        ("https://ayon.example.com/Pipe/api", "https://ayon.example.com/Pipe"),
        ("https://ayon.example.com/pipe//", "https://ayon.example.com/pipe"),
        ("https://ayon.example.com/myapi", "https://ayon.example.com/myapi"),
        ("https://ayon.example.com/?auth_redirect=1#x", "https://ayon.example.com"),
        ("https://xn--yon-pla.example", "https://xn--yon-pla.example"),
        ("https://äyon.example", "https://xn--yon-pla.example"),
        # without a scheme
        ("ayon.example.com", "https://ayon.example.com"),
        ("ayon.example.com:5000/pipe/", "https://ayon.example.com:5000/pipe"),
        ("ayon", "https://ayon"),
        ("8.8.8.8:5000", "https://8.8.8.8:5000"),
        ("localhost", "http://localhost"),
        ("LOCALHOST:5000", "http://localhost:5000"),
        ("127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("[::1]:5000", "http://[::1]:5000"),
        ("192.168.1.20:5000", "http://192.168.1.20:5000"),
        ("10.0.0.5", "http://10.0.0.5"),
    ],
)
def test_one_spelling(text: str, url: str) -> None:
    assert normalize_url(text) == url
    assert normalize_url(url) == url


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "https://",
        "https:///api",
        "ftp://ayon.example.com",
        "file:///etc/passwd",
        "https:/ayon.example.com",
        "https://ayon.example.com:99999",
        "https://ayon.example.com:port",
        "https://[::1",
        "https://ay on",
        "https://a\\b",
        "two words",
        "https://-",
        "https://ay%6fn",
    ],
)
def test_no_server_url(text: str) -> None:
    with pytest.raises(UsageError, match="is no server URL") as caught:
        normalize_url(text)
    assert caught.value.exit_code == 2
    assert "https://ayon.example.com" in caught.value.hint


@pytest.mark.parametrize("text", ["https://me:s3cret@ayon.example.com", "me:s3cret@ayon.example.com", "s3cret@ayon"])
def test_names_and_passwords_are_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(UsageError, match="user name or password") as caught:
        normalize_url(text)
    assert "s3cret" not in caught.value.message


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://a.example/x", "https://A.example:443/y?z", True),
        ("http://a.example", "http://a.example:80/", True),
        ("https://äyon.example", "https://xn--yon-pla.example/x", True),
        ("https://a.example", "http://a.example", False),
        ("https://a.example", "https://a.example:8443", False),
        ("https://a.example", "https://b.a.example", False),
        ("https://a.example@b.example", "https://a.example", False),
        ("junk", "other junk", False),
        ("https://[", "https://[[", False),
        ("ftp://a.example/1", "ftp://a.example/2", False),
    ],
)
def test_origin(one: str, other: str, same: bool) -> None:
    assert (origin(one) == origin(other)) is same


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("https://a.example/x/y.zip", "https://a.example/x/y.zip"),
        ("https://a.example/?token=abc", "https://a.example/?token=***"),
        ("/relative?token=abc&page=2", "/relative?token=***&page=***"),
        ("https://me:pass@a.example/", "https://***@a.example/"),
        ("https://key@a.example/ and http://b:c@d.example", "https://***@a.example/ and http://***@d.example"),
        ("https://a.example/#access_token=abc", "https://a.example/#***"),
        ("get https://a.example/p?abc now", "get https://a.example/p?*** now"),
        ("https://a.example/?abc&b=1&cde#top", "https://a.example/?***&b=***&***#***"),
        (
            "Is this right? a=b stays, see #3, mail me@example.com",
            "Is this right? a=b stays, see #3, mail me@example.com",
        ),
    ],
)
def test_redact(text: str, redacted: str) -> None:
    assert redact(text) == redacted
    assert redact(redacted) == redacted


@given(secret=st.text(st.characters(codec="ascii", exclude_characters="&# \t\r\n\f\v\x1c\x1d\x1e\x1f"), min_size=1))
def test_no_value_of_a_query_survives(secret: str) -> None:
    marked = f"S3CRET{secret}"
    assert "S3CRET" not in redact(f"get https://a.example/p?a=1&token={marked}&b=2 now")
