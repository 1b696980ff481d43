"""Whether a server of embeddings serves the model that the index was made with.

vLLM, text-embeddings-inference and others answer ``/v1/embeddings`` as OpenAI does. They put no prompt in front
of a text and refuse one that is too long, so both are the work of whoever asks.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from embed_assets.artifacts.secrets import without_secrets
from embed_assets.evaluation.dev_set import DevSet, dev_metrics
from embed_assets.models.answers import GenerationError
from embed_assets.models.encoders import Encoder, TextEncoder, normalized
from embed_assets.models.endpoint import open_client, read_key
from embed_assets.models.hardware import Compute
from embed_assets.models.lengths import PASSAGE, QUERY, Task, tokens_of
from embed_assets.models.prompts import prompt_of, with_prompts
from embed_assets.models.settings import BaseModelSettings
from embed_assets.models.tokenizers import load_tokenizer
from embed_assets.models.two_towers import TwoTowers
from embed_assets.production.published import Published, model_of_table
from embed_assets.production.published_index import metadata_of

TEXTS_IN_A_REQUEST = 32
MOST_SECONDS = 60.0  # for an answer
PASSAGES_COMPARED = 64
QUERIES_COMPARED = 32
WHERE_TO_LOOK = {
    401: "look at publishing.endpoint_key_variable",
    403: "look at publishing.endpoint_key_variable",
    404: "look at publishing.endpoint_model, and at endpoint_url, which often ends in /v1",
}


class ServingError(RuntimeError):
    """The endpoint gives no vectors that could be compared; the message says why and what to do."""


# How far each metric of the endpoint may be from the checkpoint's: one query more or less at the first place weighs most.
TOLERANCES = {"ndcg@1": 0.03, "ndcg@5": 0.01, "ndcg@10": 0.01, "recall@5": 0.01, "recall@10": 0.01}
METRICS_SCHEMA = {
    "metric": pl.String,
    "checkpoint": pl.Float64,
    "endpoint": pl.Float64,
    "tolerance": pl.Float64,
    "agrees": pl.Boolean,
}


@dataclass(frozen=True)
class Agreement:
    """Cosines between the vectors of an endpoint and those of a checkpoint for the same texts, and how well both find.

    Args:
        texts: how many were compared.
        least, mean: cosines.
        metrics: ``metric``, ``checkpoint``, ``endpoint``, ``tolerance`` and ``agrees``, on the dev queries; no row without.
    """

    texts: int
    least: float
    mean: float
    metrics: pl.DataFrame


class EndpointEncoder:
    """Gets vectors from an OpenAI-compatible endpoint.

    Args:
        url: base URL, such as http://localhost:8000/v1.
        model_name: the name under which it serves the model.
        settings: prompts and lengths of the model.
        tokenizer: folder or name of the model, whose tokenizer tells where a long text is cut.
        key_variable: environment variable with the key; empty: no key.

    Raises:
        ServingError: the environment variable is not set to a key.
    """

    def __init__(
        self,
        url: str,
        model_name: str,
        settings: BaseModelSettings,
        tokenizer: str,
        key_variable: str = "",
    ):
        self.url = url
        self.model_name = model_name
        self.settings = with_prompts(settings, tokenizer)
        self._tokenizer = load_tokenizer(tokenizer, settings.revision_of(tokenizer))
        try:
            self._key = read_key(key_variable, "publishing.endpoint_key_variable")
        except GenerationError as error:
            raise ServingError(str(error)) from None

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors of queries, float32, shape (len(texts), dimensions).

        Raises:
            ServingError: the endpoint does not answer, or with something else.
        """
        return self._encode(texts, QUERY)

    def encode_passages(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors of passages; as encode_queries."""
        return self._encode(texts, PASSAGE)

    def _encode(self, texts: Sequence[str], task: Task) -> np.ndarray:
        self._tokenizer.enable_truncation(tokens_of(self.settings, task))
        prompt = prompt_of(self.settings, task)
        vectors = asyncio.run(self._ask([self._cut(prompt + text) for text in texts]))
        return normalized(vectors)

    def _cut(self, text: str) -> str:
        """The part of a text that the model reads."""
        return text[: max(end for _, end in self._tokenizer.encode(text).offsets)]

    async def _ask(self, texts: Sequence[str]) -> np.ndarray:
        import openai

        vectors: list[list[float]] = []
        try:
            async with open_client(self.url, self._key, 1, MOST_SECONDS) as client:
                for start in range(0, len(texts), TEXTS_IN_A_REQUEST):
                    block = list(texts[start : start + TEXTS_IN_A_REQUEST])
                    answer = await client.embeddings.create(model=self.model_name, input=block, encoding_format="float")
                    vectors += [item.embedding for item in sorted(answer.data, key=lambda item: item.index)]
            found = np.array(vectors, dtype=np.float32)
            if found.shape[0] != len(texts) or found.ndim != 2 or not np.isfinite(found).all() or not found.any(axis=1).all():
                raise ValueError(f"shape {found.shape} for {len(texts)} texts")
        except openai.APIStatusError as error:
            advice = WHERE_TO_LOOK.get(error.status_code, "look at the log of the server")
            words = without_secrets(error, self._key)
            raise ServingError(
                f"{self.url} does not serve {self.model_name!r} (HTTP {error.status_code}: {words}): {advice}"
            ) from None
        except openai.APITimeoutError:
            raise ServingError(f"{self.url} did not answer within {MOST_SECONDS:g} seconds") from None
        except openai.APIConnectionError as error:
            raise ServingError(
                f"{self.url}: no connection ({without_secrets(error.__cause__, self._key)}): "
                "start the server, or correct publishing.endpoint_url"
            ) from None
        except (AttributeError, TypeError, ValueError) as error:
            raise ServingError(
                f"{self.url} answers with no embeddings ({without_secrets(error, self._key)}): "
                "is it the base URL of an OpenAI-compatible interface?"
            ) from None
        return found


def check_endpoint(
    url: str,
    model_name: str,
    checkpoint: Encoder | TwoTowers,
    queries: Sequence[str],
    passages: Sequence[str],
    key_variable: str = "",
    dev: DevSet | None = None,
) -> Agreement:
    """Compare an endpoint with a checkpoint on real texts.

    Args:
        url: base URL of the endpoint.
        model_name: the name under which it serves the model.
        checkpoint: the model that it should serve, with its prompts; of one for queries alone, passages are not compared.
        queries: texts that get the prompt for queries.
        passages: texts that get the prompt for passages.
        key_variable: environment variable with the key; empty: no key.
        dev: queries with their answers, which both search.

    Raises:
        ServingError: no vectors came, or vectors of another number of dimensions.
    """
    endpoint: TextEncoder = EndpointEncoder(url, model_name, checkpoint.settings, checkpoint.name, key_variable)
    if isinstance(checkpoint, TwoTowers):
        endpoint, passages = TwoTowers(endpoint, checkpoint.passages), ()
    cosines = []
    for kind, texts in (("encode_queries", queries), ("encode_passages", passages)):
        if texts:
            served, expected = (getattr(encoder, kind)(texts) for encoder in (endpoint, checkpoint))
            if served.shape != expected.shape:
                raise ServingError(
                    f"{url} serves vectors of {served.shape[1]} dimensions, the checkpoint has {expected.shape[1]}: "
                    "it serves another model"
                )
            cosines.append((served * expected).sum(axis=1))
    all_cosines = np.concatenate(cosines)
    metrics = compare_metrics(checkpoint, endpoint, dev) if dev else pl.DataFrame(schema=METRICS_SCHEMA)
    return Agreement(len(all_cosines), float(all_cosines.min()), float(all_cosines.mean()), metrics)


def compare_metrics(checkpoint: TextEncoder, endpoint: TextEncoder, dev: DevSet) -> pl.DataFrame:
    """What a checkpoint and an endpoint score on dev queries, and whether they differ by more than TOLERANCES.

    One query more or less is no difference, however few there are.
    """
    expected, served = (dev_metrics(encoder, dev, list(TOLERANCES)) for encoder in (checkpoint, endpoint))
    rows = []
    for metric, tolerance in TOLERANCES.items():
        tolerance = max(tolerance, 1 / len(dev.queries))
        means = float(expected[metric].mean()), float(served[metric].mean())
        rows.append((metric, *means, tolerance, abs(means[0] - means[1]) <= tolerance))
    return pl.DataFrame(rows, METRICS_SCHEMA, orient="row")


def check_served_model(published: Published, queries: pl.Series, passages: pl.Series, dev: DevSet | None = None) -> Agreement:
    """Compare the endpoint that a collection's settings name with the model in production.

    Args:
        published: what is in production, and the endpoint.
        queries: texts of which some are compared, with the prompt for queries.
        passages: texts of which some are compared, with the prompt for passages.
        dev: queries with their answers, which both search.

    Raises:
        ServingError: as check_endpoint.
        PublishingError: nothing is published.
        MissingArtifactError: the checkpoint in production is not in the store.
    """
    settings = published.settings
    encoder = published.encoder(model_of_table(metadata_of(published.open())), Compute("cpu"))
    some_queries, some_passages = (
        texts.gather_every(max(1, len(texts) // most)).head(most).to_list()
        for texts, most in ((queries, QUERIES_COMPARED), (passages, PASSAGES_COMPARED))
    )
    return check_endpoint(
        settings.endpoint_url, settings.endpoint_model, encoder, some_queries, some_passages, settings.endpoint_key_variable, dev
    )
