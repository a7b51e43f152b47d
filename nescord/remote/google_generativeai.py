"""google-generativeai as we use it: REST, nothing repeated behind our back, the key sent to the endpoint and nowhere
else, and its errors as ours.

Facts of 0.8.6 behind each line: `configure` is one state for the whole process, so a client is made and handed on
instead; gRPC is imported, as the library cannot do without, and no channel is ever made; the library's own defaults
repeat 503 for a minute (`retry=None` at each call), answer 401 by asking twice more, and follow redirects with the key.
"""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from nescord import packages
from nescord.errors import AnswerUnavailableError, EmbeddingUnavailableError
from nescord.remote import failures
from nescord.remote.failures import Kind, Refusal

if TYPE_CHECKING:
    from google.ai.generativelanguage import GenerativeServiceClient

    from nescord.remote.access import Access

_MISSING = "the package google-generativeai is not installed: install nescordbot[gemini], or choose genai"


def is_installed() -> bool:
    """Without importing it, which takes most of a second."""
    return packages.is_installed("google.generativeai")


def check_installed(kind: Kind) -> None:
    """Raises:
    EmbeddingUnavailableError, AnswerUnavailableError: the package is not installed.
    """
    if not is_installed():
        raise (EmbeddingUnavailableError if kind == "embedding" else AnswerUnavailableError)(_MISSING)


def new_client(access: Access, kind: Kind) -> GenerativeServiceClient:
    """A client of the library for that endpoint. Safe to use from many threads.

    Raises:
        EmbeddingUnavailableError, AnswerUnavailableError: the package is not installed.
    """
    check_installed(kind)
    import_quietly()
    from google.ai.generativelanguage import GenerativeServiceClient
    from google.ai.generativelanguage_v1beta.services.generative_service.transports.rest import (
        GenerativeServiceRestTransport,
    )
    from google.api_core.gapic_v1.client_info import ClientInfo
    from google.auth import api_key
    from google.auth.transport.requests import AuthorizedSession
    from google.generativeai import __version__

    # Half of what is called here has types.
    class Transport(GenerativeServiceRestTransport):
        """REST by a session that asks once, and where it was told to."""

        def _prep_wrapped_messages(self, client_info: ClientInfo) -> None:
            # Called last by the constructor, and what it prepares takes the session along.
            self._session = AuthorizedSession(self._credentials, refresh_status_codes=())  # type: ignore[no-untyped-call]
            self._session.max_redirects = 0
            super()._prep_wrapped_messages(client_info)  # type: ignore[no-untyped-call]

    scheme, _, host = access.endpoint.partition("://")
    transport = Transport(
        host=host,
        url_scheme=scheme,
        credentials=api_key.Credentials(access.key),  # type: ignore[no-untyped-call]
        client_info=ClientInfo(user_agent=f"genai-py/{__version__}"),  # type: ignore[no-untyped-call]
    )
    client = GenerativeServiceClient(transport=transport)
    weakref.finalize(client, transport._session.close)  # sockets that nobody closes are warned of
    return client


def import_quietly() -> None:
    """The library, without the news of its end of life: that is known, and why it is behind this seam."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"\s*All support for the `google\.generativeai`", FutureWarning)
        import google.generativeai  # noqa: F401


@contextmanager
def told_as_ours(access: Access, model: str, kind: Kind, timeout: float) -> Iterator[None]:
    """The library's errors become those of nescord/errors.py.

    Raises:
        RateLimitedError, RemoteError, RemoteRefusedError, BlockedError: by what it was.
    """
    import requests
    from google.api_core.exceptions import GoogleAPICallError
    from google.protobuf.json_format import ParseError  # type: ignore[import-untyped]  # stubs are a package more

    try:
        yield
    except GoogleAPICallError as error:
        header = getattr(error.response, "headers", {}).get("Retry-After")
        # The message begins with the method and the address, which say nothing to a person.
        said = error.message.partition(": ")[2] if error.message.startswith(("POST ", "GET ")) else error.message
        refusal = Refusal(int(error.code or 0), said, error.details or (), header)
        raise failures.error_of(refusal, model, kind, access.key) from None  # theirs may hold the key
    except requests.TooManyRedirects as error:
        raise failures.redirected(model) from error
    except requests.ConnectTimeout as error:
        raise failures.unreached(model, error) from error
    except requests.Timeout as error:
        raise failures.too_slow(model, timeout) from error
    except requests.exceptions.JSONDecodeError as error:
        raise failures.not_understood(model) from error
    except requests.ConnectionError as error:
        # One class for three ends; what it was is in the cause that it names.
        cause = repr(error)
        if "ReadTimeout" in cause or "Read timed out" in cause:  # within a stream
            raise failures.too_slow(model, timeout) from error
        if "NewConnectionError" in cause or "NameResolutionError" in cause or "SSLError" in cause:
            raise failures.unreached(model, error) from error
        raise failures.broken_off(model, error) from error
    except requests.RequestException as error:
        raise failures.broken_off(model, error) from error
    except (ParseError, ValueError, AttributeError, TypeError) as error:
        # The last two are how the library reads an error body that is not of Google's form.
        # A stream that ends early is a ValueError with all that was said in it: not to be shown.
        cut = "Unfinished stream" in str(error)
        raise (failures.broken_off(model, error) if cut else failures.not_understood(model)) from None
