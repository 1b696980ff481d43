"""Any OpenAI-compatible HTTP endpoint: vLLM's server, a NIM, llama.cpp's server, a gateway."""

import asyncio
import itertools
import json
import logging
import math
import os
import queue
import re
import textwrap
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from embed_assets.artifacts.secrets import without_secrets
from embed_assets.models.answers import ENDS, LIKELIEST_TOKENS, TOO_LONG, Answer, GenerationError, Sampling, problem_of
from embed_assets.models.servers import Servers
from embed_assets.models.settings import LanguageModelSettings

if TYPE_CHECKING:
    from openai import AsyncOpenAI


logger = logging.getLogger(__name__)
FEWEST_FAILURES = 8
LONGEST_CONNECT_SECONDS = 10.0
# What comes of an answer whose parts are others than those of the protocol: a gateway may send anything.
MALFORMED = (LookupError, TypeError, AttributeError, ValueError, OverflowError)
ABOUT_LENGTH = re.compile(r"context.?(length|size|window)|maximum (\w+ )?length|(prompt|input) is too long", re.IGNORECASE)
WHERE_TO_LOOK = {
    401: "Look at api_key_variable",
    403: "Look at api_key_variable",
    404: "Look at name, and at url, which often ends in /v1",
}
ADVICE = {
    "no connection": "Start the server, or correct url",
    "timed out": "Raise timeout_seconds, or lower concurrency",
    "rate limited": "Lower concurrency, or wait",
    "answer was not JSON": "Look whether url is the base URL of an OpenAI-compatible interface",
    "malformed answer": "Look whether url is the base URL of an OpenAI-compatible interface",
    "no log-probabilities": "Take an endpoint that sends them",
    "refused by the endpoint": "Look at the last message",
}


class EndpointEngine:
    """Asks an endpoint, with as many requests at once as the settings allow.

    The openai package sends failed requests again, with growing pauses or when the endpoint asks for it. Its event
    loop runs in a thread of its own, so that requests go on while answers are worked on, and end at once when the
    work is broken off.

    Args:
        settings: the endpoint and its model.

    Raises:
        GenerationError: the environment variable of the key is not set.
    """

    def __init__(self, settings: LanguageModelSettings):
        self._settings = settings
        self._key = read_key(settings.api_key_variable, "api_key_variable")
        self._failures: Counter[str] = Counter()
        self._warnings: set[str] = set()
        self._last_words = ""
        self._sent_again = 0
        self._urls = (settings.url, *settings.more_urls)
        self._servers = Servers(self._urls)
        self._clients = {
            url: open_client(
                url,
                self._key,
                settings.retries,
                settings.timeout_seconds,
                settings.concurrency,
                {"request": [self._count], "response": [_check]},
            )
            for url in self._urls
        }
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="endpoint", daemon=True)
        self._thread.start()

    def answer(self, prompts: Sequence[str], seeds: Sequence[int], sampling: Sampling) -> Iterator[tuple[int, Answer]]:
        """As in Engine."""
        waiting = iter(enumerate(zip(prompts, seeds, strict=True)))
        running: set[Future] = set()
        finished: queue.SimpleQueue[Future] = queue.SimpleQueue()
        self._sent_again = 0
        try:
            while True:
                for number, (prompt, seed) in itertools.islice(waiting, self._settings.concurrency - len(running)):
                    request = asyncio.run_coroutine_threadsafe(self._ask(number, prompt, seed, sampling), self._loop)
                    running.add(request)
                    request.add_done_callback(finished.put)
                if not running:
                    break
                request = finished.get()
                running.remove(request)
                number, answer = request.result()
                if answer.final:
                    self._failures.clear()
                    self._last_words = ""
                else:
                    self._failures[answer.problem] += 1
                if self._failures.total() >= max(FEWEST_FAILURES, self._settings.concurrency):
                    raise self._breakdown()
                yield number, answer
            if prompts and self._failures["no connection"] >= len(prompts):
                raise self._breakdown()
        finally:
            for request in running:
                request.cancel()
            if self._sent_again:
                logger.warning("%d requests to %s were sent again", self._sent_again, ", ".join(self._urls))

    def close(self) -> None:
        """End all requests and close the connections."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        requests = asyncio.all_tasks() - {asyncio.current_task()}
        for request in requests:
            request.cancel()
        await asyncio.gather(*requests, return_exceptions=True)
        await asyncio.gather(*(client.close() for client in self._clients.values()))

    async def _count(self, request) -> None:
        self._sent_again += request.headers.get("x-stainless-retry-count", "0") != "0"

    async def _ask(self, number: int, prompt: str, seed: int, sampling: Sampling) -> tuple[int, Answer]:
        import httpx2
        import openai

        path = "/chat/completions" if self._settings.chat else "/completions"
        body = {"model": self._settings.name, "seed": seed, **self._prompt(prompt), **self._options(sampling)}
        extra = self._settings.extra_body
        body = {name: value for name, value in (body | extra).items() if name not in extra or value is not None}
        servers = self._servers.in_turn(number)
        answer = Answer("", "no connection", final=False)
        for url in servers:
            # Where there is another server, it has the request at once.
            options = {} if url == servers[-1] else {"max_retries": 0}
            try:
                response = await self._clients[url].post(path, cast_to=httpx2.Response, body=body, options=options)
            except openai.APIStatusError as error:
                answer = self._refusal(error, url)
                if error.status_code >= 500:
                    self._servers.fails(url, answer.problem)
            except openai.APIConnectionError as error:
                self._last_words = without_secrets(error.__cause__, self._key)
                answer = Answer("", _connection_problem(error), final=False)
                self._servers.fails(url, answer.problem)
            else:
                try:
                    answer = self._read(response.json(), sampling.choices)
                except MALFORMED:
                    answer = Answer("", "malformed answer", final=False)
                self._servers.answers(url)
            if answer.final:
                break
        return number, answer

    def _prompt(self, prompt: str) -> dict:
        settings = self._settings
        if not settings.chat:
            return {"prompt": prompt}
        body: dict[str, Any] = {"messages": [{"role": "user", "content": prompt}]}
        if settings.reasoning_effort:
            body["reasoning_effort"] = settings.reasoning_effort
        if settings.chat_template_arguments:
            body["chat_template_kwargs"] = settings.chat_template_arguments
        return body

    def _options(self, sampling: Sampling) -> dict:
        if sampling.choices:
            in_chat = {"logprobs": True, "top_logprobs": LIKELIEST_TOKENS}
            return {"max_tokens": 1, "temperature": 0} | (in_chat if self._settings.chat else {"logprobs": LIKELIEST_TOKENS})
        options: dict[str, Any] = {
            "max_tokens": sampling.max_new_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
        }
        if sampling.stop:
            options["stop"] = list(sampling.stop)
        if sampling.json_schema:
            schema = {"name": "answer", "schema": json.loads(sampling.json_schema)}
            options["response_format"] = {"type": "json_schema", "json_schema": schema}
        return options

    def _read(self, completion: dict, choices: Sequence[str]) -> Answer:
        counts = [_count(completion.get("usage"), name) for name in ("prompt_tokens", "completion_tokens")]
        best = completion["choices"][0]
        ended = best.get("finish_reason")
        if ended not in ENDS:
            return Answer("", f"ended by {textwrap.shorten(str(ended), 40)}", False, *counts)
        if choices:
            likely = _likely_tokens(best.get("logprobs") or {})
            if not likely:
                return Answer("", "no log-probabilities", False, *counts)
            return Answer(json.dumps({choice: likely[choice] for choice in choices if choice in likely}), "", True, *counts)
        text = (_text(best) or "").strip()
        return Answer(text, problem_of(text, ended), True, *counts)

    def _refusal(self, error, url: str) -> Answer:
        """What a response of this server with an HTTP status of 400 and above means."""
        code = error.status_code
        message = error.body.get("message") if isinstance(error.body, dict) else None
        self._last_words = words = without_secrets(message or error.response.text, self._key)
        if code in WHERE_TO_LOOK:
            raise GenerationError(
                f"{url} does not give access to the model {self._settings.name!r} (HTTP {code}: {words}). "
                f"{WHERE_TO_LOOK[code]} in the settings of the language model."
            ) from None
        if code == 429:
            return Answer("", "rate limited", final=False)
        if code == 408:
            return Answer("", "timed out", final=False)
        if code >= 500:
            return Answer("", f"server error {code}", final=False)
        if ABOUT_LENGTH.search(error.response.text):
            return Answer("", TOO_LONG)
        if words not in self._warnings:
            self._warnings.add(words)
            logger.warning("%s refused a request (HTTP %d): %s", url, code, words)
        return Answer("", "refused by the endpoint", final=False)

    def _breakdown(self) -> GenerationError:
        problems = ", ".join(f"{count} {problem}" for problem, count in self._failures.most_common())
        advice = ADVICE.get(self._failures.most_common(1)[0][0], "Look at the log of the server")
        message = f" Last message: {self._last_words}" if self._last_words else ""
        return GenerationError(
            f"{', '.join(self._urls)} answered none of the last {self._failures.total()} requests: {problems}. {advice} "
            f"(settings of the language model). What was answered before is kept, and a new run goes on from there.{message}"
        )


def open_client(
    url: str,
    key: str,
    retries: int,
    timeout_seconds: float,
    concurrency: int = 1,
    event_hooks: Mapping[str, list[Callable]] | None = None,
) -> "AsyncOpenAI":
    """A client of the openai package that knows nothing of what the environment names for OpenAI's own service.

    Args:
        url: base URL of the endpoint.
        key: its key; empty: none.
        retries: how often a failed request is sent again.
        timeout_seconds: how long to wait for an answer.
        concurrency: connections that are kept open.
        event_hooks: of httpx, for requests and responses.
    """
    import httpx2
    import openai

    logging.getLogger("httpx2").setLevel(logging.WARNING)
    timeout = httpx2.Timeout(timeout_seconds, connect=min(timeout_seconds, LONGEST_CONNECT_SECONDS), pool=None)
    client = openai.AsyncOpenAI(
        api_key=key or "none",
        admin_api_key="",
        base_url=url,
        max_retries=retries,
        timeout=timeout,
        http_client=openai.DefaultAsyncHttpxClient(
            timeout=timeout, limits=httpx2.Limits(max_keepalive_connections=concurrency), event_hooks=dict(event_hooks or {})
        ),
    )
    client.organization = client.project = None
    client._custom_headers = {}
    return client


def read_key(variable: str, setting: str) -> str:
    """The key in an environment variable, which a setting names; empty if it names none.

    Raises:
        GenerationError: there is no key in the variable.
    """
    key = os.environ.get(variable, "").strip() if variable else ""
    if variable and not re.fullmatch(r"[!-~]+", key):
        raise GenerationError(f"the environment variable {variable!r}, which {setting} names, is not set to a key")
    return key


async def _check(response) -> None:
    """Have the openai package take an answer that is no completion for a failure, which it tries again."""
    import httpx2

    if response.is_success:
        await response.aread()
        try:
            _text(response.json()["choices"][0])
        except (ValueError, RecursionError):
            raise httpx2.DecodingError("answer was not JSON") from None
        except MALFORMED:
            raise httpx2.DecodingError("answer without choices") from None


def _connection_problem(error) -> str:
    """What the openai package's connection error came from."""
    import httpx2
    import openai

    match error.__cause__:
        case httpx2.DecodingError() as cause:
            return str(cause)
        case httpx2.ReadError() | httpx2.WriteError() | httpx2.RemoteProtocolError():
            return "connection lost"
        case httpx2.ConnectTimeout():
            return "no connection"
    return "timed out" if isinstance(error, openai.APITimeoutError) else "no connection"


def _text(choice: dict) -> str | None:
    """The text of a choice; some servers send a list of parts, of which those with the reasoning are no answer."""
    content = choice["message"]["content"] if "message" in choice else choice["text"]
    if isinstance(content, list):
        return "".join(part.get("text") or "" for part in content if part.get("type") == "text")
    if content is not None and not isinstance(content, str):
        raise TypeError("no text")
    return content


def _count(usage: Any, name: str) -> int:
    """A number of tokens; 0 where the server does not say it in a number."""
    count = usage.get(name) if isinstance(usage, dict) else 0
    return count if isinstance(count, int) and 0 <= count < 2**31 else 0


def _likely_tokens(logprobs: dict) -> dict[str, float]:
    """The likeliest first tokens and their log-probabilities, as /completions or as /chat/completions sends them."""
    if content := logprobs.get("content"):
        found = {item["token"]: item["logprob"] for item in content[0].get("top_logprobs") or []}
    else:
        found = next(iter(logprobs.get("top_logprobs") or []), {})
    return {token: float(value) for token, value in found.items() if math.isfinite(float(value))}
