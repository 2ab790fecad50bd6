"""Ask a language model through an OpenAI-compatible endpoint, with the parameters it accepts."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import BaseModel, Field, HttpUrl, TypeAdapter, ValidationError

from susx_bench.errors import PromptsError
from susx_bench.prompts.request import Reply, Request, filled_in
from susx_bench.prompts.secrets import Secrets

if TYPE_CHECKING:
    from openai import AsyncOpenAI, OpenAIError

TRIES = 6  # of one request: the client waits 0.5, 1, 2, 4 and 8 s, or as long as the server says
TIMEOUT_S = 120.0  # ten answers from a model on a CPU take a while


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Address and key of the model. Neither is ever written or shown."""

    base_url: str
    key: str

    @classmethod
    def from_environment(cls) -> Endpoint:
        """Read ``OPENAI_BASE_URL`` and ``OPENAI_API_KEY``.

        Raises:
            PromptsError: If one is not set or not valid.
        """
        base_url, key = (
            os.environ.get(name, "").strip() for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY")
        )
        if not base_url:
            raise PromptsError(
                "OPENAI_BASE_URL is not set: set it to the endpoint of your language model, as "
                "http://localhost:11434/v1. No company's server is asked unless you name it."
            )
        try:
            TypeAdapter(HttpUrl).validate_python(base_url)
        except ValidationError as error:
            reason = error.errors()[0]["msg"]
            raise PromptsError(
                f"OPENAI_BASE_URL is not the URL of an endpoint: {reason}."
            ) from None
        if not key:
            raise PromptsError(
                "OPENAI_API_KEY is not set: set it to your key, or to any word where the endpoint "
                "wants none."
            )
        if not re.fullmatch(r"[!-~]+", key):
            raise PromptsError("OPENAI_API_KEY is no key: it has a space or a letter beyond ASCII.")
        return cls(base_url=base_url, key=key)

    def client(self) -> AsyncOpenAI:
        """A client that repeats a request if that may help."""
        from openai import AsyncOpenAI, DefaultAsyncHttpxClient

        return AsyncOpenAI(
            base_url=self.base_url,
            api_key=self.key,
            max_retries=TRIES - 1,
            timeout=TIMEOUT_S,
            # Follow no redirect: requests go to the endpoint only.
            http_client=DefaultAsyncHttpxClient(follow_redirects=False),
        )


class _ContentPart(BaseModel):
    """A part of an answer; thoughts have another type than ``text``."""

    type: str
    text: str | None = None


class _Message(BaseModel):
    """The fields of a message that are read; those for thoughts are left out."""

    content: str | list[_ContentPart] | None = None

    @property
    def text(self) -> str:
        """The text of the message."""
        if isinstance(self.content, list):
            return "".join(part.text or "" for part in self.content if part.type == "text")
        return self.content or ""


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None

    @property
    def cut(self) -> bool:
        """Whether the server stopped at the requested length."""
        return (self.finish_reason or "").lower() in ("length", "max_tokens", "model_length")


class _Usage(BaseModel):
    prompt_tokens: int
    completion_tokens: int


class _Completion(BaseModel):
    """The fields of a chat completion that are read: servers differ in the others."""

    model: str | None = None
    choices: list[_Choice] = Field(min_length=1)
    usage: _Usage | None = None


class Asker:
    """Asks one question at a time, with the parameters that the server accepts."""

    def __init__(self, client: AsyncOpenAI, request: Request, endpoint: Endpoint) -> None:
        self._client = client
        self._request = request
        self._endpoint = endpoint
        self._secrets = Secrets(endpoint.base_url, endpoint.key)
        self._limit = "max_tokens"
        self._several = True

    async def ask(self, classname: str, question: str, answers: int) -> Reply:
        """Ask once for a number of answers; fewer may come.

        Raises:
            PromptsError: If no attempt gives a completion.
        """
        from openai import BadRequestError, OpenAIError, UnprocessableEntityError

        text = f"{self._request.instruction}\n{filled_in(question, classname)}"
        while True:
            limit, several = self._limit, self._several and answers > 1
            extra = {limit: self._request.max_tokens} | ({"n": answers} if several else {})
            try:
                raw = await self._client.chat.completions.with_raw_response.create(
                    model=self._request.model,
                    messages=[{"role": "user", "content": text}],
                    temperature=self._request.temperature,
                    extra_body=extra,
                )
                done = _Completion.model_validate_json(raw.content)
            except (BadRequestError, UnprocessableEntityError) as error:
                # Another worker may have found the same in the meantime.
                if limit == "max_tokens" and "max_completion_tokens" in error.message:
                    self._limit = "max_completion_tokens"  # OpenAI's own newer models
                elif several:
                    self._several = False
                else:
                    raise self._explained(error) from None
            except OpenAIError as error:
                raise self._explained(error) from None
            except ValidationError:
                raise PromptsError(
                    "the endpoint of OPENAI_BASE_URL answers with something else than chat "
                    "completions; the address of an API mostly ends in /v1."
                ) from None
            else:
                break
        choices = done.choices[:answers]
        texts = [choice.message.text for choice in choices]
        if any(map(self._secrets.are_in, [*texts, done.model or ""])):
            raise PromptsError(
                "the endpoint of OPENAI_BASE_URL sends back the key or the address that it was "
                "asked with. Nothing of that reply is kept; ask another endpoint."
            )
        return Reply(
            classname=classname,
            question=question,
            texts=texts,
            cut=[choice.cut for choice in choices],
            model=done.model,
            prompt_tokens=done.usage and done.usage.prompt_tokens,
            completion_tokens=done.usage and done.usage.completion_tokens,
        )

    def _explained(self, error: OpenAIError) -> PromptsError:
        """One line about an error, without the key and the address."""
        from openai import APIStatusError, APITimeoutError

        where = "the endpoint of OPENAI_BASE_URL"
        kept = "What was answered is kept; the next run goes on from there."
        if isinstance(error, APITimeoutError):
            return PromptsError(f"{where} gave no answer in {TIMEOUT_S:g} s, {TRIES} times. {kept}")
        if not isinstance(error, APIStatusError):
            reason = self._quoted(str(error.__cause__ or error))
            return PromptsError(f"{where} cannot be reached: {reason or 'no reason given'}. {kept}")
        status = error.status_code
        if status in (401, 403):  # its message may quote the key
            return PromptsError(f"{where} does not take the key in OPENAI_API_KEY ({status}).")
        quoted = self._quoted(_message_in(error.body))
        if status == 404:
            return PromptsError(
                f"{where} has no model '{self._request.model}', or the address is not its API's, "
                f"which mostly ends in /v1 (404{quoted and f': {quoted}'})."
            )
        return PromptsError(f"{where} refuses: {status}{quoted and f', {quoted}'}. {kept}")

    def _quoted(self, text: str) -> str:
        """A message of a server or a library, without the key and the address in any form."""
        for secret in (self._endpoint.key, self._endpoint.base_url.rstrip("/")):
            text = text.replace(secret, "…")
        if self._secrets.are_in(text):
            return "its message is left out, as it quotes the key or the address"
        return text[:200].rstrip(".")


def _message_in(body: object) -> str:
    """The message in the body of an error, if it has one."""
    if isinstance(body, Mapping):
        body = body.get("message") or body.get("detail")
    text = " ".join(body.split()) if isinstance(body, str) else ""
    return "" if text.startswith("<") else text
