"""The weights, gradients and optimizer states of a training, divided over its processes (FSDP; ZeRO, arXiv:1910.02054).

Layers are whole only while they are computed. What is saved of a training is whole, so that it goes on divided or not, in however
many processes.
"""

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embed_assets.models.hardware import Compute
from embed_assets.training.trainer import WEIGHTS, resuming_trainer

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer

Load = Callable[[], "SentenceTransformer"]


class Sharding:
    """Divides a model over all processes of a training, each of which has the same model.

    Args:
        model: in float32; it becomes one whose weights are DTensors, on the device of its process.
        compute: device and dtype.
    """

    def __init__(self, model: "SentenceTransformer", compute: Compute):
        import torch
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import MixedPrecisionPolicy

        self._compute, self._device, dtype = compute, torch.device(compute.torch_device()), compute.torch_dtype()
        self._mesh = init_device_mesh(self._device.type, (torch.distributed.get_world_size(),))
        # What autocast makes of whole weights is kept until the backward pass, so on a GPU layers are put together in its dtype.
        # What goes from one to the next stays as it is. Layer norms of a CPU would refuse to mix the two.
        mixed = dtype != torch.float32 and self._device.type != "cpu"
        dtypes = (dtype, torch.float32) if mixed else (None, None)
        self._in_layers = MixedPrecisionPolicy(*dtypes, cast_forward_inputs=False)
        self._model = model
        self._small: dict[str, torch.nn.Module] = {}
        self.shard()
        model.register_load_state_dict_pre_hook(_divide)

    def shard(self) -> None:
        """Divide what is not divided yet: all of the model, or a module that was added to it.

        Raises:
            ValueError: a module has weights of its own, outside of those that torch has.
        """
        from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method

        for name, module in self._model.named_children():
            if next(module.parameters(recurse=False), None) is not None:
                raise ValueError(
                    f"a base model with {type(module).__name__} cannot be divided: unset sharded of the resource 'gpu'"
                )
            inner = [it for it in module.children() if next(it.parameters(), None) is not None and not isinstance(it, FSDPModule)]
            if inner and module is not self._model[0]:
                self._small[name] = copy.deepcopy(module)
            for root in inner:
                for layer in layers_of(root):
                    fully_shard(layer, mesh=self._mesh, mp_policy=self._in_layers)
                fully_shard(root, mesh=self._mesh)
                if root is self._model.transformers_model:
                    register_fsdp_forward_method(root, "forward")  # which sentence-transformers calls by its name
        self._compute_once()

    def _compute_once(self) -> None:
        """Have the buffers of whole layers made here: those made in the inference mode of encode could not be trained with."""
        import torch

        inputs = self._model.preprocess(["a"]).items()
        with torch.no_grad(), self._compute.autocast():
            self._model({name: it.to(self._device) if isinstance(it, torch.Tensor) else it for name, it in inputs})

    def unshard(self, load: Load) -> None:
        """Give the first process the whole model back; all processes have to call this, and may compute nothing with it after.

        Args:
            load: loads the model as it was divided, but for modules that were added.
        """
        weights = whole(self._model.state_dict())
        if weights is None:
            return
        undivided = load()
        if undivided.transformers_model is not None:
            undivided.transformers_model.config = self._model.transformers_model.config  # the trainer may have changed it
        for name, module in (dict(undivided.named_children()) | self._small).items():
            self._model._modules[name] = module
        self._model.load_state_dict(weights)


def _divide(model: "torch.nn.Module", state: "dict[str, torch.Tensor]", *_: Any) -> None:
    """Before whole weights are loaded into a divided model."""
    own = model.state_dict()
    state |= {name: part(tensor, own[name]) for name, tensor in state.items() if name in own}


def layers_of(module: "torch.nn.Module") -> "Iterator[torch.nn.Module]":
    """The layers of a transformer: the members of its lists of modules, but not of lists within those."""
    import torch

    for child in module.children():
        if isinstance(child, torch.nn.ModuleList):
            yield from (layer for layer in child if next(layer.parameters(), None) is not None)
        else:
            yield from layers_of(child)


def whole(state: Any) -> Any:
    """A state of a model or an optimizer with whole tensors, in main memory; None but in the first process. All have to ask."""
    import torch
    from torch.distributed.tensor import DTensor
    from torch.utils._pytree import tree_map

    first = torch.distributed.get_rank() == 0

    def gather(value: Any) -> Any:
        value = value.full_tensor() if isinstance(value, DTensor) else value
        if not first:
            return None
        return value.detach().cpu() if isinstance(value, torch.Tensor) else value

    gathered = tree_map(gather, state)
    return gathered if first else None


def part(tensor: "torch.Tensor", like: "torch.Tensor") -> "torch.Tensor":
    """What this process has of a whole tensor; one of another shape, such as a number of steps, is not divided.

    Args:
        tensor: the same in all processes.
        like: divided as it is to be, by rows.
    """
    from torch.distributed.tensor import DTensor

    if not isinstance(like, DTensor) or tensor.shape != like.shape:
        return tensor
    rows, number = tensor.chunk(like.device_mesh.size()), like.device_mesh.get_local_rank()
    own = (rows[number] if number < len(rows) else tensor[:0]).to(like.device, copy=True)
    return DTensor.from_local(own, like.device_mesh, like.placements, run_check=False, shape=like.shape, stride=like.stride())


def sharded_trainer() -> "type[SentenceTransformerTrainer]":
    """A trainer of a divided model, whose states are whole."""
    import torch
    from safetensors.torch import save_file
    from transformers.trainer import OPTIMIZER_NAME, SCHEDULER_NAME

    kind: Any = resuming_trainer()

    class ShardedTrainer(kind):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            # The trainer then leaves devices and the exchange of gradients to the model.
            self.is_distributed_loading_by_transformers = True

        def evaluation_loop(self, *args: Any, **options: Any) -> Any:
            self.is_fsdp_enabled = True  # all processes encode all texts of the evaluator
            try:
                return super().evaluation_loop(*args, **options)
            finally:
                self.is_fsdp_enabled = False

        def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
            weights = whole(self.model.state_dict())
            if weights is not None:
                folder = Path(output_dir or self.args.output_dir)
                folder.mkdir(parents=True, exist_ok=True)
                save_file(weights, folder / WEIGHTS)

        def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
            state = whole(self.optimizer.state_dict())
            if state is not None:
                torch.save(state, Path(output_dir) / OPTIMIZER_NAME)
                torch.save(self.lr_scheduler.state_dict(), Path(output_dir) / SCHEDULER_NAME)

        def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
            if checkpoint is None:
                return
            state = torch.load(Path(checkpoint) / OPTIMIZER_NAME, map_location="cpu", mmap=True, weights_only=True)
            weights = [weight for group in self.optimizer.param_groups for weight in group["params"]]
            for number, moments in state["state"].items():
                for name, value in moments.items():
                    moments[name] = part(value, weights[number]) if isinstance(value, torch.Tensor) else value
            self.optimizer.load_state_dict(state)
            self.lr_scheduler.load_state_dict(torch.load(Path(checkpoint) / SCHEDULER_NAME, weights_only=True))

    return ShardedTrainer
