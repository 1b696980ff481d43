"""Settings of a sweep."""

from typing import Annotated

from pydantic import Field, Strict

from embed_assets.artifacts.blocks import Block, Share


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
