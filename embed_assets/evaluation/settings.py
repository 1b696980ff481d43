"""Settings of the evaluation set and of scoring."""

from pydantic import Field, model_validator

from embed_assets.artifacts.blocks import AutoOrWeight, Block, Share


class EvaluationSetSettings(Block):
    """The frozen yardstick. Only a change of this block draws new synthetic test queries."""

    version: int = Field(2, ge=1, description="raise it to draw a new set on purpose")
    test_share: Share = Field(
        0.15, description="share of the documents whose queries are kept for the test; no filter by retrieval touches them"
    )
    dev_share: Share = Field(0.1, description="share of the documents whose queries are kept for the dev split, in the same way")
    max_queries: int = Field(
        300,
        ge=1,
        description="at most this many queries of each split and source (own, synthetic, look-up): all styles in the same share, "
        "from as many documents as there are",
    )

    @model_validator(mode="after")
    def _leaves_documents_to_train_on(self) -> "EvaluationSetSettings":
        if self.test_share + self.dev_share >= 1:
            raise ValueError(f"test_share + dev_share is {self.test_share + self.dev_share}, which must be below 1")
        return self


class RerankingSettings(Block):
    """What the re-ranker re-orders. A change of it trains nothing."""

    top_k: int = Field(100, ge=1, le=10_000, description="re-order the first k chunks of hybrid retrieval, as BEIR does with 100")
    weight: float | None = Field(
        0.33,
        gt=0,
        le=1,
        description="weight of the re-ranker's scores in the convex fusion with those of hybrid retrieval, which have the rest; "
        "null takes the re-ranker alone",
    )
    max_queries: int = Field(
        0,
        ge=0,
        description="score on at most this many test queries of each label source, the same for all systems, for machines on "
        "which re-ranking takes too long; 0 takes all",
    )


class LateInteractionSettings(Block):
    """Re-ordering what hybrid retrieval finds by comparing tokens: the system ``late``, which needs no training of its own."""

    enabled: bool = Field(True, description="score it beside the other systems; search finds with it in any case")
    top_k: int = Field(100, ge=1, le=10_000, description="re-order the first k chunks of hybrid retrieval")
    weight: float | None = Field(
        0.3,
        gt=0,
        le=1,
        description="weight of the tokens in the convex fusion with the scores of hybrid retrieval, which have the rest; null "
        "takes the tokens alone",
    )


class ScoringSettings(Block):
    """BEIR metrics, fusion and confidence intervals."""

    top_k: int = Field(100, ge=100, le=10_000, description="length of a run: documents kept for each query")
    hybrid_weight: AutoOrWeight = Field(
        "auto",
        description="weight of the embedding model in the convex fusion with BM25, which has the rest; auto: chosen on the dev "
        "queries (human ones, else own pairs, else written questions, which only raise it, never look-ups), 0.5 unless another "
        "one is better by more than a standard error, and where there are fewer than 30",
    )
    resamples: int = Field(2000, ge=100, le=100_000, description="bootstrap resamples of the intervals")
    seed: int = Field(13, ge=0, description="seed of the resamples")


class ForgettingSettings(Block):
    """Whether the fine-tuned model has become worse at something else."""

    collection: str = Field(
        "", description="a collection that the model is not trained on, with labels of its own; empty: nothing is looked at"
    )
