"""Batches of training examples, for one process or several, and their texts as tokens."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from embed_assets.models.lengths import PASSAGE, QUERY, Task, are_apart
from embed_assets.models.settings import BaseModelSettings

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.sampler import DefaultBatchSampler
    from sentence_transformers.sentence_transformer.data_collator import SentenceTransformerDataCollator

# Of those that are kept; each takes 12 bytes of memory at most.
MOST_TOKENS_KEPT = 50_000_000


class TokensOnce:
    """Makes tokens of texts as a model's ``preprocess`` does, but of each text once.

    A passage is a negative of many queries, in each epoch, and a GPU waits for its tokens, which take about as long as a step
    of a small model. A model that makes more of texts than rows of tokens (packed ones, pictures) is asked for each batch.

    Args:
        model: makes the tokens; its lengths must not change.
    """

    def __init__(self, model: "SentenceTransformer"):
        self._model, self._are_rows, self._room = model, True, MOST_TOKENS_KEPT
        # By prompt and task: the tokens of texts, and what is said of all texts.
        self._kept: defaultdict[tuple, tuple[dict[str, dict[str, np.ndarray]], dict[str, Any]]] = defaultdict(lambda: ({}, {}))

    def __call__(self, texts: Sequence[str], prompt: str | None = None, task: Task | None = None) -> dict[str, Any]:
        """What ``preprocess`` returns: tensors of shape (len(texts), tokens of the longest text), and what is said of all."""
        kept, of_all = self._kept[prompt, task]
        new = [text for text in dict.fromkeys(texts) if text not in kept]
        if new and self._are_rows:
            features = self._model.preprocess(new, prompt=prompt, task=task)
            self._are_rows = _are_rows_of_tokens(features)
        if not self._are_rows:
            return self._model.preprocess(texts, prompt=prompt, task=task)
        if new:
            of_all |= {name: value for name, value in features.items() if not _is_tensor(value)}
            self._keep(kept, new, {name: value.numpy() for name, value in features.items() if _is_tensor(value)})
        batch = of_all | self._padded([kept[text] for text in texts])
        if self._room < 0:
            for text in new:
                del kept[text]
        return batch

    def _keep(self, kept: dict[str, dict[str, np.ndarray]], texts: Sequence[str], features: Mapping[str, np.ndarray]) -> None:
        """Keep the tokens of texts without those that fill up a row."""
        is_token = features["attention_mask"] > 0
        self._room -= int(is_token.sum())
        for row, text in enumerate(texts):
            kept[text] = {name: values[row][is_token[row]].astype(np.int32) for name, values in features.items()}

    def _padded(self, rows: Sequence[Mapping[str, np.ndarray]]) -> "dict[str, torch.Tensor]":
        import torch

        tokenizer = self._model.tokenizer
        fill = {"input_ids": tokenizer.pad_token_id, "token_type_ids": tokenizer.pad_token_type_id, "attention_mask": 0}
        longest = max(len(row["input_ids"]) for row in rows)
        batch = {name: np.full((len(rows), longest), fill[name], np.int64) for name in rows[0]}
        for name, table in batch.items():
            for number, row in enumerate(rows):
                tokens = row[name]
                start = longest - len(tokens) if tokenizer.padding_side == "left" else 0
                table[number, start : start + len(tokens)] = tokens
        return {name: torch.from_numpy(table) for name, table in batch.items()}


def _is_tensor(value: Any) -> bool:
    import torch

    return isinstance(value, torch.Tensor)


def _are_rows_of_tokens(features: Mapping[str, Any]) -> bool:
    tensors = {name: value for name, value in features.items() if _is_tensor(value)}
    known = {"input_ids", "attention_mask"} <= set(tensors) <= {"input_ids", "attention_mask", "token_type_ids"}
    return known and len({(value.shape, value.dtype) for value in tensors.values()}) == 1


def collator(
    preprocess: "Callable[..., Mapping[str, Any]]", base_model: BaseModelSettings, prompts: dict[str, str]
) -> "SentenceTransformerDataCollator":
    """What makes tokens of the texts of a batch, queries first, each cut at its length.

    Args:
        preprocess: of a model that has the lengths (lengths.set_lengths).
        base_model: the same lengths.
        prompts: of each column.
    """
    from sentence_transformers.sentence_transformer.data_collator import SentenceTransformerDataCollator

    class ByTask(SentenceTransformerDataCollator):
        def _get_task_for_column(self, column_name: str, column_position: int, router_mapping: dict[str, str]) -> Task:
            return QUERY if column_position == 0 else PASSAGE

        def __call__(self, features: list[dict[str, Any]]) -> dict[str, Any]:
            # The model computes both alike: with their tasks beside them, they could not share a forward pass.
            return {name: value for name, value in super().__call__(features).items() if not name.endswith("_task")}

    kind = ByTask if are_apart(base_model) else SentenceTransformerDataCollator
    return kind(preprocess_fn=preprocess, prompts=prompts)


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
