"""Contrastive fine-tuning of the base model on triplets: in this process, in several, or on a cluster."""

from embed_assets.training.on_cluster import fine_tune_on_cluster
from embed_assets.training.one_process import fine_tune_here
from embed_assets.training.processes import fine_tune_in_processes
from embed_assets.training.task import Training, TrainingTask


def fine_tune(task: TrainingTask) -> Training:
    """Fine-tune the base model and save it as a sentence-transformers folder.

    The loss is InfoNCE over in-batch and hard negatives (see contrastive_loss), with a linear warm-up and a cosine
    decay of the learning rate. With ``towers: query``, passages keep the vectors of the base model (see query_loss). With
    ``lora_rank``, low-rank adapters are trained (arXiv:2106.09685) and merged into the weights that are saved. With ``kind``
    late or both, it is the tokens that are compared, or both (see token_loss).
    Then they are averaged with those of the base model, as ``merge`` says (see Merger).

    Raises:
        ValueError: triplets or hard negatives are too few, or a setting does not fit the base model, the number of
            processes or what is installed.
        TrainingDivergedError: the loss became NaN or infinite, or rose far above its start.
    """
    if task.compute.cluster is not None:
        return fine_tune_on_cluster(task, task.compute.cluster)
    if task.compute.processes > 1 or task.compute.sharded:
        return fine_tune_in_processes(task)
    return fine_tune_here(task)
