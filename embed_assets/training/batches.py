"""Batches of training examples, for one process or several, and their texts as tokens."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from embed_assets.models.lengths import PASSAGE, QUERY, Task, are_apart
from embed_assets.models.settings import BaseModelSettings

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.sampler import DefaultBatchSampler
    from sentence_transformers.sentence_transformer.data_collator import SentenceTransformerDataCollator


def collator(
    model: "SentenceTransformer", base_model: BaseModelSettings, prompts: dict[str, str]
) -> "SentenceTransformerDataCollator | None":
    """What makes tokens of the texts of a batch, queries first, each cut at its length; None: the trainer's own does.

    Args:
        model: has the lengths (lengths.set_lengths).
        base_model: the same lengths.
        prompts: of each column.
    """
    from sentence_transformers.sentence_transformer.data_collator import SentenceTransformerDataCollator

    if not are_apart(base_model):
        return None

    class ByTask(SentenceTransformerDataCollator):
        def _get_task_for_column(self, column_name: str, column_position: int, router_mapping: dict[str, str]) -> Task:
            return QUERY if column_position == 0 else PASSAGE

        def __call__(self, features: list[dict[str, Any]]) -> dict[str, Any]:
            # The model computes both alike: with their tasks beside them, they could not share a forward pass.
            return {name: value for name, value in super().__call__(features).items() if not name.endswith("_task")}

    return ByTask(preprocess_fn=model.preprocess, prompts=prompts)


@dataclass(frozen=True)
class Batches:
    """Makes a batch sampler that deals the examples of each key out over the batches of an epoch.

    Examples with the same key (such as those of one document) would hardly be negatives of each other, so they are kept
    apart as far as there are batches. No example is left out, whatever it shares with others: what must not be a negative
    is masked in the loss.

    Args:
        keys: of each example, by its number, which is the ``label`` of the data set, or its row if there is none.
        processes: how many train together; every batch has so many slices of the same size, one after the other. Where
            the last batch does not divide evenly, its first examples stand in it twice.
    """

    keys: Sequence[str]
    processes: int = 1

    def __call__(self, dataset, batch_size: int, **options) -> "DefaultBatchSampler":
        """The sampler.

        Args:
            dataset: what to sample from.
            batch_size: size of a slice.
            options: as for DefaultBatchSampler.
        """
        import torch
        from sentence_transformers.base.sampler import DefaultBatchSampler

        processes, rows = self.processes, len(dataset)
        labels = list(dataset["label"]) if "label" in dataset.column_names else range(rows)
        keys = [self.keys[label] for label in labels]

        class Dealt(DefaultBatchSampler):
            def __init__(self):
                super().__init__(dataset, batch_size=batch_size, **options)
                self._whole = batch_size * processes
                if processes > 1:
                    # accelerate hands batch i to process i modulo processes; without a size, it adds none of its own.
                    self.batch_size = None

            def __iter__(self) -> Iterator[list[int]]:
                if self.generator is not None and self.seed is not None:
                    self.generator.manual_seed(self.seed + self.epoch)
                order = torch.randperm(rows, generator=self.generator).tolist()
                for batch in deal(order, keys, self._whole):
                    batch += batch[: -len(batch) % processes] if len(batch) >= processes else batch * processes
                    size = len(batch) // processes
                    for process in range(processes):
                        yield batch[process * size : (process + 1) * size]

            def __len__(self) -> int:
                return processes * -(-rows // self._whole)

        return Dealt()


def deal(order: Sequence[int], keys: Sequence[str], batch_size: int) -> list[list[int]]:
    """Batches of rows in a random order, all full but for the last one; rows with the same key stand as far apart as can be.

    Args:
        order: all rows, shuffled.
        keys: key of each row.
        batch_size: rows in a batch.
    """
    first = {key: place for place, key in reversed([(place, keys[row]) for place, row in enumerate(order)])}
    together = sorted(order, key=lambda row: first[keys[row]])
    count = -(-len(order) // batch_size)
    rest = len(order) - (count - 1) * batch_size
    batches: list[list[int]] = [[] for _ in range(count)]
    for number, row in enumerate(together):
        # The last batch is dealt to until it has its rest, the others go on.
        everywhere = rest * count
        place = number % count if number < everywhere else (number - everywhere) % (count - 1)
        batches[place].append(row)
    return batches
