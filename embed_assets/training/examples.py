"""What a training reads: which triplets, in which order and share."""

import logging
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from embed_assets.queries.pairs import IDENTIFIER, LOOKUP
from embed_assets.text.columns import NEGATIVES
from embed_assets.training.false_negatives import KnownAnswers
from embed_assets.training.settings import TrainingSettings

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Examples:
    """The examples of a training.

    Args:
        train: ``anchor``, ``positive`` and the hard negatives, in random order.
        dev: the same of the dev split.
        known: what is no negative of which of them, by their numbers: those of train first, then those of dev.
        documents: the document of each example's positive, or what is known of it, by the same numbers.
    """

    train: pl.DataFrame
    dev: pl.DataFrame
    known: KnownAnswers
    documents: list[str]

    def numbered(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Train and dev with a column ``label``, the number of each example."""
        count = self.train.height + self.dev.height
        labels = pl.Series("label", range(count), dtype=pl.Int64)
        return (
            self.train.with_columns(labels[: self.train.height]),
            self.dev.with_columns(labels[self.train.height :]),
        )


def draw_examples(triplets: pl.DataFrame, settings: TrainingSettings) -> Examples:
    """The examples that a training with these settings reads.

    A smaller ``data_share`` is part of a larger one with the same seed; the dev split is the same for all.

    Args:
        triplets: from mine_hard_negatives; ``anchor``, ``positive``, ``negative_1`` … ``negative_n`` and ``split`` will do.
        settings: how many, and of what.

    Raises:
        ValueError: there are fewer triplets than two, fewer hard negatives than asked for, nothing of what the mix names,
            or early stopping is asked for and there is nothing to evaluate on.
    """
    mined = triplets.select(NEGATIVES).width
    wanted = mined if settings.hard_negatives is None else settings.hard_negatives
    if wanted > mined:
        raise ValueError(
            f"training.hard_negatives is {wanted}, but {mined} were mined for each query: "
            "raise negatives.per_query, or lower training.hard_negatives"
        )
    train = triplets.filter(pl.col("split") == "train").sample(fraction=1.0, shuffle=True, seed=settings.seed)
    train = without_common_identifiers(train, settings.identifier_answers)
    train = mixed(train, settings.mix, min(settings.mix_at_least, settings.max_examples)).head(settings.max_examples)
    train = train.head(math.ceil(settings.data_share * train.height))
    dev = triplets.filter(pl.col("split") == "dev").head(4 * settings.batch_size)
    if train.height < 2:
        raise ValueError(f"{train.height} triplets are too few to train on; more documents or questions are needed")
    if settings.early_stopping and dev.height < 2:
        raise ValueError(
            f"training.early_stopping needs dev triplets, and there are {dev.height}: raise evaluation_set.dev_share, "
            "or set training.early_stopping to 0"
        )
    both = pl.concat([train, dev])
    documents = both["positive_document" if "positive_document" in both.columns else "positive"].to_list()
    names = ["anchor", "positive", *(f"negative_{number + 1}" for number in range(wanted))]
    return Examples(train.select(names), dev.select(names), KnownAnswers(both, wanted), documents)


def without_common_identifiers(triplets: pl.DataFrame, most_answers: int | None) -> pl.DataFrame:
    """The triplets without the look-ups by identifiers that more than so many chunks name; all where too few are left.

    An identifier that stands in many chunks tells none of them from the others (docs/proof.md has the figures).

    Args:
        triplets: with ``source``, ``style`` and ``answers``, the chunks that answer the anchor; without them, all are left.
        most_answers: how many chunks; None leaves all.
    """
    if most_answers is None or not {"source", "style", "answers"} <= set(triplets.columns):
        return triplets
    by_identifier = (pl.col("source") == LOOKUP) & (pl.col("style") == IDENTIFIER)
    left = triplets.filter(~(by_identifier & (pl.col("answers").list.len() > most_answers)).fill_null(False))
    if left.height < 2:
        return triplets
    if without := triplets.height - left.height:
        words = "%d of %d triplets are left out: look-ups by identifiers that more than %d chunks name"
        logger.info(words, without, triplets.height, most_answers)
    return left


def mixed(triplets: pl.DataFrame, mix: Mapping[str, float], at_least: int) -> pl.DataFrame:
    """The first triplets of each source or style, so that their shares are those of the mix, in their order.

    As many are taken as the scarcest share allows without repetition, but at least a number: there, a share with too few
    gives all it has, and the others fill up in their proportions.

    Args:
        triplets: with ``source`` and ``style``.
        mix: source or style → share, in any unit; a style counts before its source. What is not named is kept whole.
        at_least: how many are taken if there are as many.

    Raises:
        ValueError: the mix names nothing that is there.
    """
    if not mix:
        return triplets
    names = [
        style if style in mix else source if source in mix else None
        for source, style in triplets.select("source", "style").iter_rows()
    ]
    there = {name: names.count(name) for name in mix if name in names}
    shares = {name: mix[name] for name in there if mix[name] > 0}
    if not shares:
        known = ", ".join(sorted({*triplets["source"].unique(), *triplets["style"].unique()}))
        raise ValueError(f"training.mix gives no share to any of the examples: name some of {known}")
    total = max(at_least, math.floor(min(there[name] * sum(shares.values()) / share for name, share in shares.items())))
    taken = dict.fromkeys(there, 0)
    while shares:
        whole = sum(shares.values())
        few = [name for name, share in shares.items() if there[name] <= total * share / whole]
        if not few:
            taken |= {name: round(total * share / whole) for name, share in shares.items()}
            break
        for name in few:
            taken[name] = there[name]
            total -= there[name]
            del shares[name]
    counts: Counter[str | None] = Counter()
    rows = []
    for row, named in enumerate(names):
        if named is None or counts[named] < taken[named]:
            rows.append(row)
        counts[named] += 1
    return triplets[rows]
