"""What a collection of a given size takes, computed from rates: the tables of docs/sizing.md are printed by this.

Work on a GPU is counted in operations: 2 for each parameter and token that a model reads, 6 where it is trained (Kaplan et al.,
arXiv:2001.08361), 8 with the second forward pass of GradCache (arXiv:2101.06983). Times follow from a share of a GPU's peak.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

BYTES_OF_A_FLOAT = 4
TERA, GIGA = 1e12, 1e9
SIZES = (1_000_000, 10_000_000, 100_000_000)


@dataclass(frozen=True)
class Rates:
    """What a machine does in a second, and where that is from.

    Args:
        peak: TFLOP/s of a GPU in bfloat16; 989 is the data sheet of NVIDIA's H100 SXM, dense.
        encoding, training, reading, writing: shares of the peak when texts are encoded, a model is trained, a language model
            reads prompts, and writes; all assumed. Small models leave most of a large GPU idle, and writing waits for memory.
        chunks: chunks that one core reads, cuts and writes; measured on one core of an Intel Xeon: 236,684 of 78 MB in 81 s.
        indexed: chunks that a core reads for BM25 and for what answers a query by its words; measured: a million in 120 s.
        searched: chunks that a core compares with a query in a second, 384 dimensions and BM25; measured: a million in 18 ms.
        cpu_texts: texts of 256 tokens that a core encodes with all-MiniLM-L6-v2 in bfloat16; measured: 24.
        stored: bytes of Parquet for a token of chunks and documents; measured on six collections: 2.8.
    """

    peak: float = 989.0
    encoding: float = 0.15
    training: float = 0.15
    reading: float = 0.4
    writing: float = 0.05
    chunks: float = 2_900.0
    indexed: float = 8_300.0
    searched: float = 55e6
    cpu_texts: float = 24.0
    stored: float = 2.8


@dataclass(frozen=True)
class Work:
    """What is asked for.

    Args:
        tokens: of a chunk, with its title.
        parameters, dimensions: of the embedding model.
        active: parameters of the language model that take part in a token; 5.1 billion is gpt-oss-120b, a mixture of experts.
        calls, prompt_tokens, answer_tokens: of the language model, for questions and for judging them.
        queries: that are mined for; as many are trained on.
        passages: of a training example, the positive and the negatives.
        query_tokens: of a query.
        epochs: passes over the examples.
        test_queries: that are scored.
    """

    tokens: int = 256
    parameters: float = 110e6
    dimensions: int = 768
    active: float = 5.1e9
    calls: int = 60_000
    prompt_tokens: int = 3_000
    answer_tokens: int = 1_000
    queries: int = 100_000
    passages: int = 6
    query_tokens: int = 24
    epochs: float = 1.0
    test_queries: int = 1_000


MODELS = {"110M parameters, 768 dimensions": Work(), "600M parameters, 1,024 dimensions": Work(parameters=600e6, dimensions=1024)}


def gpu_hours(chunks: int, work: Work, rates: Rates = Rates()) -> dict[str, float]:
    """Step → hours of one GPU."""
    operations = {
        "questions and judging": work.calls
        * 2
        * work.active
        * (work.prompt_tokens / rates.reading + work.answer_tokens / rates.writing),
        "encoding, base model": 2 * work.parameters * chunks * work.tokens / rates.encoding,
        "encoding, fine-tuned model": 2 * work.parameters * chunks * work.tokens / rates.encoding,
        "training": 8
        * work.parameters
        * work.queries
        * work.epochs
        * (work.query_tokens + work.passages * work.tokens)
        / rates.training,
    }
    return {step: count / rates.peak / TERA / 3600 for step, count in operations.items()}


def other_figures(chunks: int, work: Work, rates: Rates = Rates()) -> dict[str, float]:
    """What → hours of a core, or gigabytes."""
    vectors = chunks * work.dimensions * BYTES_OF_A_FLOAT
    searches = work.queries + 2 * work.test_queries
    return {
        "tokens, billions": chunks * work.tokens / 1e9,
        "cutting into chunks, core hours": chunks / rates.chunks / 3600,
        "chunks and documents, GB": chunks * work.tokens * rates.stored / GIGA,
        "mining and scoring, core hours": chunks * (1 / rates.indexed + searches / rates.searched) / 3600,
        "encoding twice with all-MiniLM-L6-v2, core hours": 2 * chunks / rates.cpu_texts / 3600,
        "vectors of one model, GB": vectors / GIGA,
        "vectors in memory while scoring, GB": 2 * vectors / GIGA,
        "published index, GB": (vectors + chunks * work.tokens * rates.stored) / GIGA,
    }


def sizing_table(work: Work, rates: Rates = Rates(), sizes: tuple[int, ...] = SIZES) -> pl.DataFrame:
    """A row for each step and figure, a column for each number of chunks."""
    columns: dict[str, Mapping[str, float]] = {}
    for chunks in sizes:
        hours = gpu_hours(chunks, work, rates)
        named = {f"{step}, GPU hours": count for step, count in hours.items()}
        columns[f"{chunks:,} chunks"] = other_figures(chunks, work, rates) | named | {"all GPU hours": sum(hours.values())}
    rows = {"what": list(next(iter(columns.values())))}
    return pl.DataFrame(rows | {name: [_rounded(it) for it in column.values()] for name, column in columns.items()})


def bottleneck(chunks: int, work: Work, rates: Rates = Rates()) -> str:
    """The step that takes most hours of a GPU."""
    hours = gpu_hours(chunks, work, rates)
    return max(hours, key=lambda step: hours[step])


def _rounded(figure: float) -> str:
    """Two digits that count."""
    return f"{float(f'{figure:.2g}'):,.10g}" if figure >= 0.01 else f"{figure:.2g}"
