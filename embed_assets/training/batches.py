"""Batches without duplicates for several processes."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sentence_transformers.base.sampler import DefaultBatchSampler


@dataclass(frozen=True)
class SlicedBatches:
    """Makes a batch sampler whose batches are slices of the batches that one process would have.

    No text stands twice in the batch that the slices make together, where it would be its own negative. Of a batch
    that does not divide evenly, the last few examples are left out.

    Args:
        processes: how many train together; every batch has so many slices, one after the other.
    """

    processes: int

    def __call__(self, dataset, batch_size: int, **options) -> "DefaultBatchSampler":
        """The sampler.

        Args:
            dataset: what to sample from.
            batch_size: size of a slice.
            options: as for NoDuplicatesBatchSampler.
        """
        from sentence_transformers.base.sampler import DefaultBatchSampler, NoDuplicatesBatchSampler

        processes = self.processes

        class Slices(DefaultBatchSampler):
            def __init__(self):
                super().__init__(dataset, batch_size=batch_size, **options)
                self._whole = NoDuplicatesBatchSampler(dataset, batch_size * processes, **options)
                # accelerate hands batch i to process i modulo processes; without a batch size, it adds none of its own.
                self.batch_size = None

            def set_epoch(self, epoch):
                self._whole.set_epoch(epoch)

            def __iter__(self):
                for batch in self._whole:
                    size = len(batch) // processes
                    for process in range(processes if size else 0):
                        yield batch[process * size : (process + 1) * size]

            def __len__(self):
                full, rest = divmod(len(dataset), self._whole.batch_size)
                return processes * (full + (rest >= processes))

        return Slices()
