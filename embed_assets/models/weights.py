"""Whether the files of a model are whole: what is missing of them gets random values, and nothing fails."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from embed_assets.artifacts.blocks import SettingsError
from embed_assets.artifacts.errors import UserError
from embed_assets.models.locations import locate_model, on_a_hub

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder, SentenceTransformer


class BrokenModelError(UserError, ValueError):
    """A model is not whole, or not safe to load; the message says what to do."""


PICKLED, SAFE = "pytorch_model.bin", "model.safetensors"


@contextmanager
def what_is_broken(name: str) -> Iterator[None]:
    """Say of a model that cannot be loaded what to do: another try mends nothing, but where a disk or a hub failed.

    Raises:
        BrokenModelError: the model cannot be loaded.
    """
    from safetensors import SafetensorError

    try:
        yield
    except (BrokenModelError, SettingsError):
        raise
    except SafetensorError as error:
        raise BrokenModelError(
            f"{name}: its weights cannot be read ({error}): they are cut off, or a pointer of Git LFS: fetch them again"
        ) from None
    except (OSError, ImportError, AttributeError, KeyError, ValueError) as error:
        if isinstance(error, OSError) and (error.errno is not None or on_a_hub(name)):
            raise
        words = " ".join(str(error).split())
        raise BrokenModelError(
            f"{name!r} cannot be loaded: {words:.300}: name a sentence-transformers folder, or a model of a hub, with "
            "safetensors weights"
        ) from error


def check_is_safe(name: str) -> None:
    """Refuse a local model of which a part (such as 2_Dense) has pickled weights alone.

    Raises:
        BrokenModelError: it has; the file is named.
    """
    location = locate_model(name)
    for path in sorted(location.glob(f"*/{PICKLED}")) if isinstance(location, Path) else ():
        if not path.with_name(SAFE).is_file():
            raise BrokenModelError(
                f"{path}: only safetensors weights are loaded: save the model once more with sentence-transformers, which writes "
                f"{SAFE} beside it"
            )


def check_is_whole(
    model: "SentenceTransformer | CrossEncoder", name: str, revision: str = "", unused: Sequence[str] = ("pooler",)
) -> None:
    """Refuse a model some of whose weights, or whose words, are not in its files.

    Args:
        model: as it was loaded.
        name: for messages.
        revision: of a model on a hub.
        unused: weights with this in their names are not asked for; sentence-transformers pools by itself.

    Raises:
        BrokenModelError: weights are missing, or the tokenizer knows less than half of the tokens that the weights are for.
    """
    transformer = model.transformers_model
    if transformer is None:
        return
    missing = [key for key in _missing_weights(transformer, revision) if not any(part in key for part in unused)]
    if missing:
        raise BrokenModelError(
            f"{name}: {len(missing)} of its weights are not in its files, such as {missing[0]}, and would be random: they were "
            "saved under other names, or in part; save the whole model with sentence-transformers"
        )
    known, meant = len(model.tokenizer), getattr(transformer.config, "vocab_size", None) or 0
    if 2 * known < meant:
        raise BrokenModelError(
            f"{name}: its tokenizer knows {known:,} tokens and its weights {meant:,}: a file of the tokenizer is missing, "
            "such as tokenizer.json"
        )


def _missing_weights(transformer, revision: str) -> list[str]:
    """Names of the weights that no file has."""
    from transformers.utils import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # it has said all that when the model was loaded
    try:
        loaded = {"config": transformer.config, "use_safetensors": True, "revision": revision or "main"}
        _, found = type(transformer).from_pretrained(
            transformer.name_or_path, device_map="meta", output_loading_info=True, **loaded
        )
    except Exception:  # a model that cannot be laid out without its values is looked at no further: it was loaded
        return []
    finally:
        logging.set_verbosity(verbosity)
    return sorted(found["missing_keys"])
