"""Settings of the published index, of retraining and of drift."""

from pydantic import Field, model_validator

from embed_assets.artifacts.blocks import Address, Block, Database, KeyVariable, added, operation
from embed_assets.production.published_vectors import IndexKind, NumberType


class RetrainingSettings(Block):
    """When a change of the production table is worth a run. It says when to compute, not what."""

    changed_rows: int = Field(100, ge=1, description="run after at least this many added, changed and removed rows")
    changed_share: float = Field(0.05, gt=0, le=1, description="or after at least this share of the rows")
    quiet_minutes: float = Field(10.0, ge=0, description="wait until the table was left alone for so long, in minutes")
    max_wait_minutes: float = Field(720.0, ge=0, description="but wait no longer than this after the first change, in minutes")
    max_tries: int = Field(3, ge=1, description="ask so many times for a run of the same change, if those before failed")
    retry_minutes: float = Field(
        15.0, ge=0, description="pause between a run that failed and the next, in minutes; it doubles with each further one"
    )


class PublishingSettings(Block):
    """The LanceDB index that search reads. A new one takes the place of the old one only if the model is better."""

    uri: Database = Field(
        "", description="database of the index, a path below the data folder or an object-store URI; empty: nothing is published"
    )
    table: str = Field(
        "",
        pattern=r"^[A-Za-z0-9_.-]{0,100}$",
        description="name that readers ask for, at most 100 letters of A to Z, digits, '_', '.' and '-'; empty: the name of the "
        "collection",
    )
    significance: float = Field(0.05, gt=0, le=1, description="p value below which a difference of two models counts")
    min_slice_queries: int = Field(5, ge=2, description="query styles with fewer test queries are not held against a model")
    vector_index_rows: int = Field(
        50_000,
        ge=256,
        description="from this many rows on a table that is written gets a vector index; search in fewer is exact",
    )
    vector_index: IndexKind = added(
        "hnsw_sq",
        description="how it keeps a dimension: hnsw_sq and ivf_sq as an integer of 8 bits, ivf_pq 16 together as 8 bits, ivf_rq "
        "as one bit; hnsw_sq is a graph, the others are lists; what it finds is compared once more by the vectors of the table",
    )
    number_type: NumberType = added("float32", description="of the vectors in the table; float16 takes half the room")
    dimensions: int = added(
        0,
        ge=0,
        le=65536,
        description="search goes through the first n dimensions of a fine-tuned model, as short_vector; best one of "
        "training.matryoshka_dimensions; 0 goes through all",
    )
    whole_vectors: bool = added(
        True,
        description="with dimensions: publish whole vectors too, by which hits are compared once more; false saves the room",
    )
    rescore: int = operation(
        10,
        ge=1,
        le=1000,
        description="where search goes through an index or fewer dimensions, so many times the hits are compared once more",
    )
    tokens: bool = added(
        False,
        description="publish the vectors of the tokens of each chunk too, as token_vectors: search --mode late reads them and "
        "need not compute them, and --mode tokens searches in them",
    )
    token_pooling: float = added(
        2.0,
        ge=1,
        le=16,
        description="so many tokens of a chunk, those that are most alike, become one vector, their mean; 1 keeps them all",
    )
    token_index_rows: int = added(
        10_000,
        ge=256,
        description="from this many rows on the tokens of a written table have an index; search in fewer is exact",
    )
    endpoint_url: Address = operation(
        "",
        description="base URL of the OpenAI-compatible endpoint that serves the model for queries, such as "
        "http://localhost:8000/v1; it is compared with the model in production; empty: nothing is compared",
    )
    endpoint_model: str = operation("", description="the name under which the endpoint serves the model")
    endpoint_key_variable: KeyVariable = operation(
        "", description="environment variable that holds the endpoint's key; empty: no key"
    )

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
