"""Settings of the evaluation set and of scoring."""

from typing import Literal

from pydantic import Field, model_validator

from embed_assets.artifacts.blocks import Block, Share


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
