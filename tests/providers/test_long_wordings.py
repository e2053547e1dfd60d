"""The wordings in which vendors refuse a request that is too long, and similar ones."""

import json
from typing import Any

import pytest

from streaming.exceptions import ContextTooLong
from streaming.providers.context_window import stated_window, token_counts
from streaming.providers.errors import error_fields, status_error

#: A text, the tokens of the request, and the window: 0 if the text does not have it.
TOO_LONG = [
    ("Input tokens exceed the configured limit of 272000 tokens. Your messages "
     "resulted in 309114 tokens.", 309_114, 272_000),
    ("input length and `max_tokens` exceed context limit: 199759 + 8192 > 200000",
     207_951, 200_000),
    ("Too many input tokens. Max input tokens: 8192, request input token count: 9000",
     9000, 8192),
    ("Input Tokens Exceeded: Number of input tokens exceeds maximum length.", 0, 0),
    ("the input token count is 1100000 but model only supports up to 1048576. You can "
     "also use CountTokens to calculate billable characters.", 1_100_000, 1_048_576),
    ("maximum prompt length is 131072 but the request contains 537812 tokens.",
     537_812, 131_072),
    ("Request too large for model `x` on tokens per minute (TPM): Limit 6000, "
     "Requested 8012, please reduce your message size", 8012, 6000),
    ("prompt token count of 130000 exceeds the limit of 128000", 130_000, 128_000),
    ("invalid params, context window exceeds limit (2013)", 0, 0),
    ("Your request exceeded model token limit: 262144 (requested: 291351)",
     291_351, 262_144),
    ("model max length exceeded, max length:8192", 0, 8192),
    ("Prompt contains 65673 tokens and 0 draft tokens, too large for model with 32768 "
     "maximum context length", 65_673, 32_768),
    ("maximum context length is 8192 tokens. You requested 5000 output tokens and your "
     "prompt contains at least 3193 input tokens", 8193, 8192),
    ("The decoder prompt (length 40961) is longer than the maximum model length of "
     "40960. Make sure that", 40_961, 40_960),
    ("exceeds the model's maximum context length of 32768 tokens. You requested a "
     "total of 41000 tokens: 32808 tokens from the messages", 41_000, 32_768),
    ("`inputs` tokens + `max_new_tokens` must be <= 8192. Given: 6204 `inputs` tokens "
     "and 2047 `max_new_tokens`", 8251, 8192),
    ("`inputs` must have less than 4095 tokens. Given: 5000", 5000, 4095),
    ("The prompt is too long: 140000, model maximum context length: 131071",
     140_000, 131_071),
    ("too many tokens: total number of tokens cannot exceed 4081 - received 5200.",
     5200, 4081),
    ("too many tokens: size limit exceeded by 1234 tokens. The limit for this model is "
     "128000 tokens.", 0, 128_000),
    ("<400> InternalError.Algo.InvalidParameter: Range of input length should be "
     "[1, 30720]", 0, 30_720),
    ("Input length 203743 exceeds the maximum length 202752", 203_743, 202_752),
    ("Prompt length (5000) exceeds maximum input length (4096).", 5000, 4096),
    ("Prompt length 9000 exceeds max KV size 8192", 9000, 8192),
    ("Prompt length 9000 is greater than max_seq_len 8192", 9000, 8192),
    ("the input length 9000 is longer than maxInputTokenLen 8192", 9000, 8192),
    ("Requested tokens (2130) exceed context window of 2048", 2130, 2048),
    ("prompt too long; exceeded max context length by 1200 tokens", 0, 0),
    ("Current length is 8193 while limit is 8192. Please reduce the length of the "
     "messages", 8193, 8192),
    ("Requested 140000 tokens which exceeds the 127072 limit of the model",
     140_000, 127_072),
    ("max tokens of 8192 exceeded (prompt tokens 9500)", 9500, 8192),
    ("the number of input tokens 9000 cannot exceed the total tokens limit 8192",
     9000, 8192),
    ("The estimated number of input and output tokens (9005) exceeded this model "
     "context window limit (8000).", 9005, 8000),
    ("length of prompt_tokens (40000) must be less than max_seq_len (32768).",
     40_000, 32_768),
    ("The prompt is too long: the truncation_length is 4096", 0, 4096),
    ("max_tokens must be at least 1, got -12.", 0, 0),
    ("E1002 PromptTooLong", 0, 0),
    ("Malformed input request: expected maxLength: 2048, actual: 20480", 0, 0),
    ("Invalid 'messages[1].content': string too long. Expected a string with maximum "
     "length 1048576, but got a string with length 1540820 instead.", 0, 0),
    ("Prompt 超长", 0, 0),
    ("输入内容的Token数超过模型最大上下文长度限制", 0, 0),
    ("上下文长度超限：模型最大支持 32768 tokens，当前请求 40000 tokens",
     40_000, 32_768),
    ("入力トークン数がコンテキスト長の上限(8192)を超えています: 9000", 9000, 8192),
    ("입력 토큰 수가 최대 컨텍스트 길이를 초과했습니다", 0, 0),
    ("Die Eingabe ist zu lang: 9000 Token, das Kontextfenster hat 8192 Token.",
     9000, 8192),
    ("La longueur du contexte est dépassée : 9000 jetons, maximum 8192", 9000, 8192),
    ("La entrada supera la longitud máxima de 8192 tokens (9000 solicitados)",
     9000, 8192),
    ("Число токенов превышает контекст модели: 9000 > 8192", 9000, 8192),
]  # fmt: skip

#: Texts about other limits.
OTHERS = [
    "max_tokens is too large: 200000. It supports at most 16384 completion tokens.",
    "max_tokens: 64000 > 8192, which is the maximum allowed number of output tokens",
    "Invalid max_tokens value, the valid range of max_tokens is [1, 8192]",
    "`max_tokens` must be less than or equal to `32768`, the maximum value for "
    "`max_tokens` is less than the `context_window` for this model",
    "Range of max_tokens should be [1, 8192]",
    "Invalid 'user': string too long. Expected a string with maximum length 64",
    "Invalid 'tools[0].function.name': string too long. Expected a string with maximum "
    "length 64, but got a string with length 70 instead.",
    "Invalid 'tools': array too long. Expected an array with maximum length 128",
    "A maximum of 4 blocks with cache_control may be provided. Found 5.",
    "`max_tokens` must be greater than `thinking.budget_tokens`.",
]


def error(status: int, message: str, **fields: object) -> Exception:
    body: dict[str, Any] = {"error": {"message": message, "code": status, **fields}}
    text = json.dumps(body)
    return status_error(status, error_fields(body), {}, text)


@pytest.mark.parametrize(("text", "used", "window"), TOO_LONG)
def test_a_request_that_is_too_long_is_recognized(
    text: str, used: int, window: int
) -> None:
    assert isinstance(error(400, text), ContextTooLong)
    body = json.dumps({"error": {"message": text, "code": 1261}, "status": 400})
    assert stated_window(body) == window
    assert token_counts(body) == ((used, window) if used else None)


@pytest.mark.parametrize("text", OTHERS)
def test_another_limit_is_not_the_window(text: str) -> None:
    assert not isinstance(error(400, text), ContextTooLong)


@pytest.mark.parametrize(
    ("status", "text", "expected"),
    [
        (413, "", True),
        (413, "<html>413 Request Entity Too Large</html>", True),
        (429, "Request too large for gpt-6 on tokens per min (TPM): Limit 30000, "
         "Requested 48012. The input or output tokens must be reduced", True),
        (429, "Rate limit reached for gpt-6 on tokens per min (TPM): Limit 30000, Used "
         "29000, Requested 5000. Please try again in 8.2s.", False),
        (429, "Quota exceeded for metric: input_token_count, limit: 250000", False),
        (429, "Too many tokens, please wait before trying again.", False),
    ],
)  # fmt: skip
def test_a_wait_does_not_help_a_request_that_is_too_long(
    status: int, text: str, expected: bool
) -> None:
    assert isinstance(error(status, text), ContextTooLong) is expected
