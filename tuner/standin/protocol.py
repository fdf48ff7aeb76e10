"""OpenAI's API in vLLM's shapes: what a request asks for, and the JSON of the answers."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tuner.standin.text import chat_tokens, tokens_of

Json = dict[str, Any]
DEAD = "EngineCore encountered an issue. See stack trace (above) for the root cause."
BUSY = "The engine is currently busy and cannot accept new requests. Please try again later or on a different instance."


class BadRequest(Exception):
    """A request that is answered with an error."""

    def __init__(
        self, message: str, status: int = 400, type_: str = "BadRequestError", param: str | None = None
    ) -> None:
        self.status = status
        self.body = error_body(message, type_, status, param)
        super().__init__(message)


def error_body(message: str, type_: str, code: int, param: str | None = None) -> Json:
    """vLLM's error object, in a response or inside a stream."""
    return {"error": {"message": message, "type": type_, "param": param, "code": code}}


@dataclass(frozen=True)
class Asked:
    """One request, understood. `max_tokens` is already cut to what the context holds."""

    chat: bool
    model: str
    tokens: tuple[Hashable, ...]
    seed_text: str
    max_tokens: int
    min_tokens: int
    ignore_eos: bool
    stream: bool
    include_usage: bool
    continuous_usage: bool
    logprobs: bool


def understand(body: Any, chat: bool, served_names: Sequence[str], max_model_len: int) -> Asked:
    """Read a request's body. Raises BadRequest as vLLM answers it."""
    if not isinstance(body, Mapping):
        raise BadRequest("the body must be a JSON object")
    model = body.get("model") or served_names[0]
    if model not in served_names:
        raise BadRequest(f"The model `{model}` does not exist.", 404, "NotFoundError", "model")
    tokens, text = _prompt(body, chat)
    if len(tokens) >= max_model_len:
        raise BadRequest(
            f"This model's maximum context length is {max_model_len} tokens. However, your prompt contains "
            f"{len(tokens)} input tokens, which leaves no room for output. Please reduce the length of the input "
            "prompt.",
            param="input_tokens",
        )
    room = max_model_len - len(tokens)
    limit = _limit(body, chat, room)
    stream_options = body.get("stream_options") or {}
    if stream_options and not body.get("stream"):
        raise BadRequest("Stream options can only be defined when `stream=True`.", param="stream_options")
    return Asked(
        chat=chat,
        model=str(model),
        tokens=tuple(tokens),
        seed_text=text,
        max_tokens=min(limit, room),
        min_tokens=_integer(body, "min_tokens", 0, 0),
        ignore_eos=bool(body.get("ignore_eos")),
        stream=bool(body.get("stream")),
        include_usage=bool(stream_options.get("include_usage")),
        continuous_usage=bool(stream_options.get("continuous_usage_stats")),
        logprobs=body.get("logprobs") not in (None, False),
    )


def _limit(body: Mapping[str, Any], chat: bool, room: int) -> int:
    if chat and body.get("max_completion_tokens") is not None:
        return _integer(body, "max_completion_tokens", room, 1)
    return _integer(body, "max_tokens", room if chat else 16, 1)


def _integer(body: Mapping[str, Any], name: str, default: int, least: int) -> int:
    value = body.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise BadRequest(f"{name} must be at least {least}, got {value}.", param=name)
    return value


def _prompt(body: Mapping[str, Any], chat: bool) -> tuple[list[Hashable], str]:
    if _integer(body, "n", 1, 1) != 1:
        raise BadRequest("the stand-in writes one answer to a request: n must be 1", param="n")
    if chat:
        messages = body.get("messages")
        if not isinstance(messages, list) or not messages or not all(isinstance(m, Mapping) for m in messages):
            raise BadRequest("messages must be a list of at least one message", param="messages")
        return chat_tokens(messages), repr(messages)
    prompt = body.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], (str, list)):
        prompt = prompt[0]
    if isinstance(prompt, list) and prompt and all(isinstance(t, int) and not isinstance(t, bool) for t in prompt):
        return tokens_of(prompt), repr(prompt)
    if isinstance(prompt, str):
        return tokens_of(prompt), prompt
    raise BadRequest("prompt must be a text or a list of token ids (the stand-in takes one prompt)", param="prompt")


@dataclass(frozen=True)
class Answer:
    """Makes the JSON of one answer's parts."""

    asked: Asked
    id: str
    created: int
    fingerprint: str

    def opening(self) -> Json | None:
        """A chat's first chunk, which names the role and carries no token; completions have none."""
        if not self.asked.chat:
            return None
        choice = {"index": 0, "delta": {"role": "assistant", "content": ""}, "logprobs": None, "finish_reason": None}
        return self._chunk([choice]) | {"prompt_token_ids": None, "prompt_text": None}

    def content(self, tokens: Sequence[str], finish: str | None, logprobs: Any, usage: Json | None) -> Json:
        """A chunk with tokens."""
        text = "".join(tokens)
        if self.asked.chat:
            choice = {"index": 0, "delta": {"content": text}, "logprobs": logprobs, "finish_reason": finish}
            choice |= {"token_ids": None}
        else:
            choice = {"index": 0, "text": text, "logprobs": logprobs, "finish_reason": finish, "stop_reason": None}
            choice |= {"prompt_token_ids": None, "token_ids": None}
        return self._chunk([choice]) | ({"usage": usage} if usage else {})

    def closing(self, written: int) -> Json:
        """The chunk that carries the usage."""
        return self._chunk([]) | {"usage": self.usage(written), "system_fingerprint": self.fingerprint}

    def whole(self, tokens: Sequence[str], finish: str, logprobs: Any) -> Json:
        """The answer in one piece."""
        text = "".join(tokens)
        if self.asked.chat:
            message: Json = {"role": "assistant", "content": text, "refusal": None, "tool_calls": []}
            choice = {"index": 0, "message": message, "logprobs": logprobs, "finish_reason": finish}
            kind = "chat.completion"
        else:
            choice = {"index": 0, "text": text, "logprobs": logprobs, "finish_reason": finish, "stop_reason": None}
            kind = "text_completion"
        return self._chunk([choice]) | {
            "object": kind,
            "system_fingerprint": self.fingerprint,
            "usage": self.usage(len(tokens)),
        }

    def usage(self, written: int) -> Json:
        """Token counts."""
        prompt = len(self.asked.tokens)
        return {"prompt_tokens": prompt, "total_tokens": prompt + written, "completion_tokens": written}

    def logprobs(self, tokens: Sequence[str], first: float, begin: int) -> Any:
        """Log-probabilities of `tokens`, the first of which is number `begin` of the answer."""
        if not self.asked.logprobs:
            return None
        values = [first if begin + index == 0 else first / 2 for index in range(len(tokens))]
        if self.asked.chat:
            return {
                "content": [
                    {"token": token, "logprob": value, "bytes": list(token.encode()), "top_logprobs": []}
                    for token, value in zip(tokens, values, strict=True)
                ]
            }
        tops = [{token: value} for token, value in zip(tokens, values, strict=True)]
        return {
            "tokens": list(tokens),
            "token_logprobs": values,
            "top_logprobs": tops,
            "text_offset": [0] * len(tokens),
        }

    def _chunk(self, choices: list[Json]) -> Json:
        kind = "chat.completion.chunk" if self.asked.chat else "text_completion"
        return {"id": self.id, "object": kind, "created": self.created, "model": self.asked.model, "choices": choices}
