"""The nearest passages, computed where torch computes fastest: on a GPU."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from embed_assets.models.hardware import Compute, explain_out_of_memory
from embed_assets.retrieval.dense import PASSAGES_AT_ONCE, DenseScores
from embed_assets.retrieval.ranking import Found

if TYPE_CHECKING:
    import torch

# Scores of a block of queries for so many passages: 134 MB.
PASSAGES_IN_A_PART = 2**17
# The rest is for the scores, and for the cross-encoder that judges what was found, block by block.
SHARE_FOR_VECTORS = 0.5


def worth_gpu(compute: Compute, passages: np.ndarray) -> bool:
    """Whether a GPU should search: there is one with room for all vectors and more, and they are more than a CPU scores at once.

    Where the workers of a cluster compute, the device is theirs: this process may have no GPU.
    """
    if compute.cluster is not None or len(passages) <= PASSAGES_AT_ONCE or not compute.torch_device().startswith("cuda"):
        return False
    return passages.size * np.dtype(np.float32).itemsize <= SHARE_FOR_VECTORS * compute.free_memory()


def nearest(blocks: Iterable[np.ndarray], passages: np.ndarray, k: int, device: str) -> Iterator[Found]:
    """What DenseScores.first finds, but for rounding, computed by torch with all vectors on a device.

    Args:
        blocks: vectors of queries, shape (queries, dimensions).
        passages: vectors of all passages, shape (passages, dimensions).
        k: how many of each query.
        device: as torch names it.

    Yields:
        The k best passages of each block's queries, or all where there are fewer; ties in column order.

    Raises:
        OutOfMemoryError: another process took the memory that was free.
    """
    import torch

    with explain_out_of_memory("set device of the resource 'gpu' to cpu, or leave the GPU to this run alone"):
        starts = range(0, len(passages), PASSAGES_IN_A_PART)
        parts = [torch.from_numpy(passages[start : start + PASSAGES_IN_A_PART]).to(device, torch.float32) for start in starts]
        k = min(k, len(passages))
        for queries in blocks:
            values, columns, lowest = _best(torch.from_numpy(queries).to(device, torch.float32), parts, k + 1)
            found = Found.best_of(columns, values, k, lowest)
            # Of passages that tie with the last, torch takes any.
            tied = np.flatnonzero((values[:, k - 1 : k] == values[:, k:]).any(axis=1))
            if len(tied):
                again = DenseScores(queries[tied], passages).first(k)
                found.columns[tied], found.scores[tied], found.lowest[tied] = again.columns, again.scores, again.lowest
            yield found


def _best(queries: "torch.Tensor", parts: list["torch.Tensor"], k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores and columns of the k best passages of all parts, best first, and the lowest score of all, shape (queries, 1)."""
    import torch

    of_parts, start = [], 0
    for part in parts:
        scores = queries @ part.T
        values, columns = torch.topk(scores, min(k, len(part)), dim=1)
        of_parts.append((values, columns + start, scores.amin(1, keepdim=True)))
        start += len(part)
    values, columns, lowest = (torch.cat(of_all, dim=1) for of_all in zip(*of_parts, strict=True))
    values, places = torch.topk(values, min(k, values.shape[1]), dim=1)
    return values.cpu().numpy(), columns.gather(1, places).cpu().numpy(), lowest.amin(1, keepdim=True).cpu().numpy()
