"""Settings of the QA pairs."""

import re
from typing import Annotated, Any, Literal

from pydantic import Field, Strict, field_validator, model_validator

from embed_assets.artifacts.blocks import Block, Strings, operation
from embed_assets.models.settings import LanguageModelSettings
from embed_assets.text.settings import IdentifierSettings

# What fits a writer that follows long instructions; the defaults of the fields fit one that does not.
ABLE: dict[str, Any] = {
    "mode": "batch",
    "questions_per_chunk": 5,
    "styles": {"question": 2, "how_to": 2, "symptom": 2, "search": 1, "identifier_question": 2, "multi_hop": 1, "contextual": 1},
    "answers": True,
    "min_complexity": 2,
    "extract_artifacts": True,
    "bundle_by": ["identifier", "link", "document", "similar"],
    "min_judge_score": 7.0,
    "writer": {"chat": True, "max_new_tokens": 2000, "max_model_tokens": 8192},
}
# Prompt files of other tasks than writing one question.
TASK_PROMPTS = ("batch", "artifacts", "answerable", "judge")
Hops = Annotated[int, Field(ge=1, le=5, strict=False)]
Ways = Annotated[tuple[Literal["similar", "identifier", "link", "document"], ...], Strict(False)]
# Where the settings say what an identifier looks like.
IDENTIFIERS = "questions.identifiers"


class QuestionsSettings(Block):
    """QA pairs: questions from a language model, look-ups taken from the text, and the user's own pairs."""

    preset: Literal["small", "able"] = operation(
        "small",
        description="what is not set below: small fits a writer that can do one thing at a time; able one that follows long "
        "instructions (batch mode with answers, artifacts, a judge, and more styles)",
    )
    own_pairs: Literal["join", "replace", "ignore"] = Field(
        "join", description="what pairs.jsonl, pairs.parquet and qrels/train.tsv of the collection do with the synthetic pairs"
    )
    writer: LanguageModelSettings = Field(LanguageModelSettings(), description="the language model that writes questions")
    if_no_writer: Literal["fail", "look_ups"] = Field(
        "fail", description="what happens where vLLM cannot run: the run fails, or look-ups are taken alone"
    )
    mode: Literal["single", "batch"] = Field(
        "single",
        description="single: a call writes one question of one style, which small models can do; batch: a call writes "
        "questions_per_chunk questions of all styles as JSON",
    )
    reader: str = Field(
        "a person who looks for information",
        min_length=1,
        max_length=200,
        pattern=r"^[^\r\n]+$",
        description="who asks, as the prompts say it: a short phrase such as 'a nurse on a ward' or 'an engineer on call'",
    )
    more_readers: Strings = Field(
        (),
        description="others who ask, each with the same share as reader, such as 'somebody new to the subject who does not know "
        "its terms' or 'a manager in a hurry'",
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
    ask_again: int = Field(
        2, ge=0, le=10, description="batch mode: how often a call is asked again for questions that it was to write and did not"
    )
    max_questions: int = Field(
        1200, ge=0, description="at most this many written questions; chunks are drawn evenly over documents; 0 writes none"
    )
    hops: dict[Hops, Annotated[float, Field(ge=0, strict=False)]] = Field(
        {2: 1},
        description="multi-hop questions by how many related chunks, of one or several documents, they need: number, from 1 to "
        "5, and its share; the shares come out exactly. With 1 a question puts statements of one chunk together",
    )
    bundle_by: Ways = Field(
        ("similar",),
        min_length=1,
        description="what related chunks have in common, in turns: similar (meaning), identifier (both name it), link (from one "
        "to the document of the other), document",
    )
    reasoning_types: Strings = Field(
        ("factual", "relational", "inferential", "temporal", "procedural", "causal"),
        min_length=1,
        description="what it takes to answer; asked for in batch mode",
    )
    answers: bool = Field(
        False, description="batch mode: let the writer answer each question too; the judge sees the answer, exports have it"
    )
    context: Literal["chunk", "section", "document"] = Field(
        "chunk",
        description="batch mode: what the writer sees around a chunk, as far as its context (max_model_tokens) has room: "
        "nothing, the chunks below the same heading, or the document; a small writer asks about them too",
    )
    min_complexity: int = Field(1, ge=1, le=5, description="batch mode: simpler questions are dropped; 1 is simple, 5 complex")
    extract_artifacts: bool = Field(
        False,
        description="let the extractor list first what a chunk speaks of, for the prompts: concepts, entities, identifiers, …",
    )
    extractor: LanguageModelSettings = Field(
        LanguageModelSettings(name="", temperature=0.0, max_new_tokens=500),
        description="the model that lists artifacts; no name: the writer, with the sampling given here",
    )
    judge: LanguageModelSettings = Field(
        LanguageModelSettings(name="", temperature=0.0, max_new_tokens=200),
        description="the model that judges pairs; no name: the writer, with the sampling given here",
    )
    identifier_coverage: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of the identifiers of the collection that some query is to name: the writer is asked about the "
        "others, the rarest first, with identifier_question.jinja, up to three times and at most max_questions times in all; "
        "0 asks nothing more",
    )
    identifiers_per_chunk: int = Field(
        2, ge=0, le=50, description="look-ups by identifier (bug ID, version, flag, error code) for each chunk"
    )
    keywords_per_chunk: int = Field(1, ge=0, le=50, description="look-ups by the chunk's most telling words")
    sentences_per_chunk: int = Field(1, ge=0, le=50, description="look-ups by a sentence of the chunk")
    neighbours_per_chunk: int = Field(1, ge=0, le=50, description="look-ups by a sentence of another chunk of the document")
    titles_per_chunk: int = Field(1, ge=0, le=50, description="look-ups by title or heading with a telling word")
    max_lookups: int = Field(6000, ge=0, description="at most this many look-ups before the round-trip filter")
    identifiers: IdentifierSettings = Field(IdentifierSettings(), description="what an identifier looks like")
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

    @model_validator(mode="before")
    @classmethod
    def _fill_in_preset(cls, given: Any) -> Any:
        """What the preset says, where nothing else is said."""
        if not isinstance(given, dict) or given.get("preset") != "able":
            return given
        writer = given.get("writer", {})
        if isinstance(writer, LanguageModelSettings):
            writer = {name: getattr(writer, name) for name in writer.model_fields_set}
        return ABLE | given | ({"writer": ABLE["writer"] | writer} if isinstance(writer, dict) else {})

    @field_validator("more_readers")
    @classmethod
    def _are_phrases(cls, readers: tuple[str, ...]) -> tuple[str, ...]:
        for reader in readers:
            if not re.fullmatch(r"[^\r\n]{1,200}", reader):
                raise ValueError(f"{reader!r} is no reader: a short phrase on one line says who asks")
        return readers

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
        if not any(self.hops.values()):
            raise ValueError("hops: no number of hops has a share; {2: 1} asks about two chunks each time")
        judge = self.language_models.get("judge")
        if self.min_answerability and judge is not None and judge.thinks:
            raise ValueError(
                "min_answerability reads the first word of an answer, and the judge thinks first: "
                "take min_judge_score, or a judge that does not think"
            )
        if self.min_words > self.max_words:
            raise ValueError(f"min_words is {self.min_words}, which is more than max_words, {self.max_words}")
        return self

    @property
    def most_hops(self) -> int:
        """The most chunks that a multi-hop question is asked about."""
        return max(hops for hops, share in self.hops.items() if share)

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
        if self.writer.thinks:  # a verdict is short, what comes before it is not
            own["max_new_tokens"] = max(task.max_new_tokens, self.writer.max_new_tokens)
        return task if task.name else self.writer.model_copy(update=own)
