"""Batches without duplicates, for one process or several."""

from collections.abc import Callable


def batch_sampler(processes: int) -> Callable:
    """What the trainer makes its batches with: no text stands twice in a batch, where it would be its own negative.

    The batches of several processes together are the batches of one; each process has its slice of every batch.
    Of a batch that does not divide evenly, the last few examples are left out.

    Args:
        processes: how many train together.
    """
    from sentence_transformers.base.sampler import BatchSamplers, DefaultBatchSampler, NoDuplicatesBatchSampler

    if processes == 1:
        return BatchSamplers.NO_DUPLICATES

    class SlicedBatches(DefaultBatchSampler):
        def __init__(self, dataset, batch_size, **options):
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
            full, rest = divmod(len(self._whole.dataset), self._whole.batch_size)
            return processes * (full + (rest >= processes))

    return SlicedBatches
