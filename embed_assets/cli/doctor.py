"""Whether this machine, its folders and its models are ready."""

import importlib.metadata
import os
import platform
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import click
import psutil

from embed_assets.artifacts.remote_folder import RemoteError, RemoteFolder
from embed_assets.artifacts.workspace import CollectionError, Workspace, open_workspace
from embed_assets.cli.arguments import data_option, echo_json, home_option, json_option
from embed_assets.corpus.files import list_files
from embed_assets.evaluation.human_labels import check_labels
from embed_assets.models.answers import GenerationError
from embed_assets.models.endpoint import read_key
from embed_assets.models.hardware import Compute
from embed_assets.models.language_models import why_no_vllm
from embed_assets.models.locations import ModelNotFoundError, hub_is_off, locate_model, not_on_hub
from embed_assets.queries.unread_files import unread_files
from embed_assets.settings import NamedModel, SettingsError, models_of, read_settings

LEAST_MEMORY = 6  # GB (10^9 bytes); the question writer in float32 and the trainer each stay below it
LEAST_DISK = 5  # GB
NOT_INSTALLED = "not installed"


@dataclass(frozen=True)
class Diagnosis:
    """One thing that was looked at, and what to do about it if it is not well."""

    what: str
    well: bool
    words: str


@click.command()
@json_option("each thing that was looked at")
@data_option
@home_option
def doctor(as_json: bool, data: str, home: str) -> None:
    """Check machine, folders, settings, models and keys, and say what to do.

    Exit code 1: something is not well.
    """
    found = list(diagnose(open_workspace(data, home)))
    for it in found:
        if as_json:
            echo_json(asdict(it))
        else:
            click.echo(f"{'ok  ' if it.well else 'FAIL'}  {it.what}: {it.words}")
    if not all(it.well for it in found):
        raise click.exceptions.Exit(1)


def diagnose(workspace: Workspace) -> Iterator[Diagnosis]:
    """What was looked at, one after the other; nothing is changed and no model is loaded."""
    from joblib import cpu_count

    versions = ", ".join(f"{name} {_version(name)}" for name in ("dagster", "torch", "sentence-transformers", "lancedb"))
    yield Diagnosis("versions", True, f"Python {platform.python_version()}, {versions}")
    compute = Compute()
    dtype = str(compute.torch_dtype()).removeprefix("torch.")
    slow = "; without bfloat16 in hardware, training takes two to four times as long" if dtype == "float32" else ""
    yield Diagnosis("device", True, f"{compute.torch_device()}, {cpu_count()} cores, {dtype}{slow}")
    memory = psutil.virtual_memory().total / 1e9
    yield _at_least("memory", memory, LEAST_MEMORY, "take a smaller questions.writer and training.batch_size")
    place = next(path for path in (workspace.home, *workspace.home.parents) if path.exists())
    yield _at_least(f"disk of {place}", shutil.disk_usage(place).free / 1e9, LEAST_DISK, "free some, or name another --home")
    if workspace.remote:
        yield _of_object_store(workspace.remote)
    writable = os.access(place, os.W_OK)
    what = "home" if not workspace.remote else "its folder on this machine"
    yield Diagnosis(what, writable, str(workspace.home) if writable else f"{place} cannot be written to: name another --home")
    yield _of_onnxruntime()
    why = why_no_vllm()
    words = f"{why}; questions need it or an endpoint; questions.if_no_writer: look_ups goes without" if why else "installed"
    yield Diagnosis("vLLM", True, words)
    try:
        collections = workspace.some_collections()
    except CollectionError as error:
        yield Diagnosis("data", False, str(error))
        return
    yield Diagnosis("data", True, f"{workspace.data_address}: {', '.join(collections)}")
    for name in collections:
        yield from _of_collection(workspace, name)


def _of_collection(workspace: Workspace, name: str) -> Iterator[Diagnosis]:
    try:
        settings = read_settings(workspace, name)
    except SettingsError as error:
        yield Diagnosis(f"settings of {name}", False, str(error))
        return
    yield Diagnosis(f"settings of {name}", True, "read")
    folder = workspace.collection_folder(name)
    documents = folder / "documents"
    if documents.is_dir() and not settings.production.uri and not list_files(folder).files:
        yield Diagnosis(f"documents of {name}", False, f"there is no file in {documents}: put documents there")
    try:
        check_labels(folder)
    except CollectionError as error:
        yield Diagnosis(f"labels of {name}", False, str(error))
    for words in unread_files(folder):
        yield Diagnosis(f"files of {name}", False, words)
    for model in models_of(settings):
        try:
            yield Diagnosis(f"{model.what} of {name}", True, _located(model))
        except (ModelNotFoundError, OSError) as error:
            yield Diagnosis(f"{model.what} of {name}", False, str(error))
    keys = {model.api_key_variable for model in settings.questions.language_models.values()}
    for key in sorted((keys | {settings.publishing.endpoint_key_variable}) - {""}):
        try:
            read_key(key, name)
            yield Diagnosis(f"key of {name}", True, f"${key} is set")
        except GenerationError:
            yield Diagnosis(f"key of {name}", False, f"${key} is not set to a key: export it")


def _located(model: NamedModel) -> str:
    from huggingface_hub import try_to_load_from_cache

    location = locate_model(model.name)
    if isinstance(location, str) and hub_is_off():
        cached = try_to_load_from_cache(location, "config.json", revision=model.revision or None)
        if not isinstance(cached, str):
            raise not_on_hub(location)
    return str(location)


def _of_object_store(address: str) -> Diagnosis:
    """Whether it can be written to, and refuses what was to be written on a condition that does not hold."""
    name = f"doctor-{uuid.uuid4().hex}"
    try:
        home = RemoteFolder(address)
        refuses = home.write(name, b"", None) and not home.write(name, b"", None)
        home.delete([name])
    except RemoteError as error:
        return Diagnosis("home", False, str(error))
    if not refuses:
        return Diagnosis("home", False, f"{address} overwrites what it was asked not to (If-None-Match): it cannot hold a home")
    return Diagnosis("home", True, address)


def _of_onnxruntime() -> Diagnosis:
    """Whether there is one onnxruntime: both packages write into one folder, and a mixture of them fails anywhere."""
    there = {name: _version(name) for name in ("onnxruntime", "onnxruntime-gpu") if _version(name) != NOT_INSTALLED}
    words = ", ".join(f"{name} {version}" for name, version in there.items()) or NOT_INSTALLED
    if len(there) == 2:
        words += " overwrite each other's files: run 'make onnx-gpu', or uninstall both and then install one of them"
    return Diagnosis("onnxruntime", len(there) == 1, words)


def _at_least(what: str, found: float, least: float, remedy: str) -> Diagnosis:
    well = found >= least
    return Diagnosis(what, well, f"{int(found)} GB" + ("" if well else f", less than {least} GB: {remedy}"))


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return NOT_INSTALLED
