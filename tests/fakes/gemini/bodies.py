"""The error bodies of Google's: google.rpc.Status with its details, worded as the real service words them."""

from __future__ import annotations

from typing import Any

JsonObject = dict[str, Any]

_TYPE = "type.googleapis.com/google.rpc."
_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_MESSAGE = {
    400: "Request contains an invalid argument.",
    401: "Request had invalid authentication credentials.",
    403: "Your API key was reported as leaked. Please use another API key.",
    404: "Requested entity was not found.",
    429: "You exceeded your current quota, please check your plan and billing details. For more information on this "
    "error, head over to: https://ai.google.dev/gemini-api/docs/rate-limits.",
    500: "An internal error has occurred. Please retry or report in "
    "https://developers.generativeai.google/guide/troubleshooting",
    503: "The model is overloaded. Please try again later.",
    504: "Deadline expired before operation could complete.",
}


def error(status: int, message: str | None = None, *details: JsonObject) -> JsonObject:
    """The body of an error; without a message, the one that Google usually sends with that status."""
    body: JsonObject = {
        "code": status,
        "message": message or _MESSAGE.get(status, "Unknown error."),
        "status": _STATUS.get(status, "UNKNOWN"),
    }
    if details:
        body["details"] = list(details)
    return {"error": body}


def too_many(model: str, retry_after: float | None) -> JsonObject:
    """429 with the quota that is used up and, if given, when to come again."""
    details: list[JsonObject] = [
        {
            "@type": f"{_TYPE}QuotaFailure",
            "violations": [
                {
                    "quotaMetric": "generativelanguage.googleapis.com/embed_content_free_tier_requests",
                    "quotaId": "EmbedContentRequestsPerMinutePerUserPerProjectPerModel-FreeTier",
                    "quotaDimensions": {"location": "global", "model": model},
                    "quotaValue": "100",
                }
            ],
        },
        {
            "@type": f"{_TYPE}Help",
            "links": [
                {
                    "description": "Learn more about Gemini API quotas",
                    "url": "https://ai.google.dev/gemini-api/docs/rate-limits",
                }
            ],
        },
    ]
    if retry_after is not None:
        details.append({"@type": f"{_TYPE}RetryInfo", "retryDelay": f"{retry_after:g}s"})
    return error(429, None, *details)


def no_such_model(model: str, method: str) -> JsonObject:
    return error(
        404,
        f"models/{model} is not found for API version v1beta, or is not supported for {method}. "
        "Call ListModels to see the list of available models and their supported methods.",
    )


def no_key() -> JsonObject:
    return error(
        403,
        "Method doesn't allow unregistered callers (callers without established identity). Please use API Key or "
        "other form of API consumer identity to call this API.",
    )


def wrong_key() -> JsonObject:
    message = "API key not valid. Please pass a valid API key."
    return error(
        400,
        message,
        {
            "@type": f"{_TYPE}ErrorInfo",
            "reason": "API_KEY_INVALID",
            "domain": "googleapis.com",
            "metadata": {"service": "generativelanguage.googleapis.com"},
        },
        {"@type": f"{_TYPE}LocalizedMessage", "locale": "en-US", "message": message},
    )


def too_many_in_one_batch(most: int) -> JsonObject:
    message = f"* BatchEmbedContentsRequest.requests: at most {most} requests can be in one batch\n"
    violation = {"field": "requests", "description": f"at most {most} requests can be in one batch"}
    return error(400, message, {"@type": f"{_TYPE}BadRequest", "fieldViolations": [violation]})


def too_long(tokens: int, most: int) -> JsonObject:
    return error(400, f"The input token count ({tokens}) exceeds the maximum number of tokens allowed ({most}).")


def prohibited() -> JsonObject:
    return error(400, "The request was blocked: the content is prohibited. (PROHIBITED_CONTENT)")
