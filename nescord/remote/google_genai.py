"""google-genai as we use it: nothing repeated behind our back, the key sent to the endpoint and nowhere else, its
errors as ours.

Facts of 2.34 behind each line: it repeats nothing unless told to, but follows redirects with the key; without
`vertexai=False` and an address it looks for both in the environment.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from nescord import packages
from nescord.errors import AnswerUnavailableError, EmbeddingUnavailableError
from nescord.remote import failures
from nescord.remote.failures import Kind, Refusal

if TYPE_CHECKING:
    from google.genai import Client

    from nescord.remote.access import Access

_MISSING = "the package google-genai is not installed: install nescordbot[genai], or choose gemini"


def is_installed() -> bool:
    """Without importing it, which takes a second."""
    return packages.is_installed("google.genai")


def check_installed(kind: Kind) -> None:
    """Raises:
    EmbeddingUnavailableError, AnswerUnavailableError: the package is not installed.
    """
    if not is_installed():
        raise (EmbeddingUnavailableError if kind == "embedding" else AnswerUnavailableError)(_MISSING)


def new_client(access: Access, kind: Kind) -> Client:
    """A client of the library for that endpoint. Safe to use from many threads.

    Raises:
        EmbeddingUnavailableError, AnswerUnavailableError: the package is not installed.
    """
    check_installed(kind)
    from google import genai
    from google.genai import types

    options = types.HttpOptions(
        base_url=access.endpoint,
        timeout=round(access.timeout * 1000),
        retry_options=types.HttpRetryOptions(attempts=1),
        client_args={"follow_redirects": False},
    )
    return genai.Client(vertexai=False, api_key=access.key, http_options=options)


@contextmanager
def told_as_ours(access: Access, model: str, kind: Kind, timeout: float) -> Iterator[None]:
    """The library's errors become those of nescord/errors.py.

    Raises:
        RateLimitedError, RemoteError, RemoteRefusedError, BlockedError: by what it was.
    """
    import httpx
    from google.genai import errors
    from pydantic import ValidationError

    try:
        yield
    except errors.APIError as error:
        refusal = Refusal(int(error.code or 0), error.message or "", _details(error), _retry_after(error))
        raise failures.error_of(refusal, model, kind, access.key) from None  # theirs may hold the key
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
        raise failures.unreached(model, error) from error
    except httpx.TimeoutException as error:
        raise failures.too_slow(model, timeout) from error
    except httpx.HTTPError as error:
        raise failures.broken_off(model, error) from error
    except (errors.UnknownApiResponseError, ValidationError, ValueError):
        raise failures.not_understood(model) from None  # its message holds all that came


def _details(error: Exception) -> list[dict[str, object]]:
    """The details of google.rpc.Status, where the body is one."""
    body = getattr(error, "details", None)
    inner = body.get("error", body) if isinstance(body, dict) else None
    details = inner.get("details") if isinstance(inner, dict) else None
    return [detail for detail in details if isinstance(detail, dict)] if isinstance(details, list) else []


def _retry_after(error: Exception) -> str | None:
    headers = getattr(getattr(error, "response", None), "headers", None)
    return headers.get("Retry-After") if headers is not None else None
