"""What only the operator may decide: where a collection sends data, with which key, and whose code it runs.

A collection may come from somebody else. What its own settings.yaml sets of that kind is refused unless the block
``allowed`` of the data folder's settings.yaml, which is the operator's, names it. The fields are marked in their own
blocks (see Outside).
"""

import copy
import fnmatch
import json
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, ValidationError

from embed_assets.artifacts.blocks import Block, Outside, Strings

MEANINGS = {
    "hosts": "sends text to this host",
    "key_variables": "uses the key in this environment variable",
    "databases": "opens this database, which is not below the data folder",
    "remote_code": "runs Python code that comes with this model",
    "request_fields": "sends the endpoint this field, which may say who else reads the text",
}
# How an answer is sampled, as servers with the interface of OpenAI name it.
SAMPLING_FIELDS = (
    "frequency_penalty",
    "length_penalty",
    "logit_bias",
    "min_p",
    "min_tokens",
    "presence_penalty",
    "repetition_penalty",
    "top_k",
)


class AllowedSettings(Block):
    """What collections may set in their own settings.yaml. Only the data folder's settings.yaml can have this block."""

    hosts: Strings = Field((), description="hosts of endpoints, with or without a port; *.example.com is all hosts below")
    key_variables: Strings = Field((), description="environment variables with keys of endpoints")
    databases: Strings = Field(
        (), description="databases, or what their URIs begin with up to a '/', beside those below the data folder"
    )
    remote_code: Strings = Field(
        (), description="models, named as in their setting, whose own Python code may run; NAME@REVISION allows one revision"
    )
    request_fields: Strings = Field(
        SAMPLING_FIELDS, description="fields of extra_body; a gateway may send text elsewhere for the sake of others"
    )


def refusals(settings: Any, operators: Any, allowed: AllowedSettings, data: Path) -> Iterator[tuple[list[str], str]]:
    """What a collection has changed in its settings and may not.

    Args:
        settings: those of the collection.
        operators: what they would be without the collection's own file.
        allowed: what the operator allows.
        data: the data folder.

    Yields:
        The keys of each setting, and what is wrong with it.
    """
    before = {(keys, subject) for keys, _, subject in _marked(operators, operators)}
    for keys, mark, subject in _marked(settings, settings):
        if subject and (keys, subject) not in before and not _is_allowed(mark.allowed_by, subject, allowed, data):
            named = _in_words(mark.allowed_by, subject)
            yield (
                list(keys),
                f"the collection {MEANINGS[mark.allowed_by]}, {named!r}, which is for the operator to allow: take it out of "
                f"this file, or add it to allowed.{mark.allowed_by} in {data / 'settings.yaml'}",
            )


def _marked(block: BaseModel, settings: Any, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Outside, str]]:
    """Each marked setting: its keys, its mark, and what it leads to; empty if it leads nowhere."""
    for name, field in type(block).model_fields.items():
        value = getattr(block, name)
        if isinstance(value, BaseModel):
            yield from _marked(value, settings, (*above, name))
        for mark in field.metadata:
            if isinstance(mark, Outside):
                subject = _model(block, mark, settings) if mark.model and value else value
                if isinstance(subject, dict):
                    subject = tuple(f"{field}={json.dumps(given, sort_keys=True)}" for field, given in subject.items())
                for single in subject if isinstance(subject, tuple) else (subject,):
                    yield (*above, name), mark, single or ""


def _model(block: BaseModel, mark: Outside, settings: Any) -> str:
    """The model whose code would run, with its revision; no name stands for the base model."""
    name, revision = getattr(block, mark.model), getattr(block, mark.revision)
    if not name:
        name, revision = settings.base_model.name, settings.base_model.revision
    return f"{name}@{revision}" if revision else name


def _is_allowed(kind: str, subject: str, allowed: AllowedSettings, data: Path) -> bool:
    entries = getattr(allowed, kind)
    match kind:
        case "hosts":
            return any(_same_host(urlsplit(subject), entry) for entry in entries)
        case "databases":
            return _below_the_data_folder(subject, data) or any(_begins_with(subject, entry) for entry in entries)
        case "remote_code":
            return subject in entries or subject.partition("@")[0] in entries
        case "request_fields":
            return _in_words(kind, subject) in entries
    return subject in entries


def _in_words(kind: str, subject: str) -> str:
    """What a message names: nothing that may be secret."""
    match kind:
        case "hosts":
            return urlsplit(subject).netloc
        case "request_fields":
            return subject.partition("=")[0]
    return subject


def _same_host(address, entry: str) -> bool:
    wanted = urlsplit(f"//{entry}")
    host, pattern = ((parts.hostname or "").rstrip(".") for parts in (address, wanted))
    return bool(host) and fnmatch.fnmatchcase(host, pattern) and wanted.port in (None, address.port)


def _begins_with(uri: str, entry: str) -> bool:
    if "://" not in uri:
        uri, entry = (os.path.realpath(Path(path).expanduser()) for path in (uri, entry))
    return uri == entry or (uri.startswith(f"{entry.rstrip('/')}/") and ".." not in uri.split("/"))


def _below_the_data_folder(uri: str, data: Path) -> bool:
    """No way up, nor out by a link that may have come with a collection; one beside the collections is the operator's."""
    path = PurePosixPath(uri)
    if path.is_absolute() and path.is_relative_to(data.absolute()):
        path = path.relative_to(data.absolute())
    if "://" in uri or path.is_absolute() or ".." in path.parts or uri.startswith("~"):
        return False
    collections = data / "collections"
    if collections.is_dir() and path.parts[:1] != (collections.name,):
        return True
    return (data / path).resolve().is_relative_to(data.joinpath(*path.parts[:1]).resolve())


def operators_settings(kind: type[BaseModel], layer: dict[str, Any]) -> Any:
    """The settings of the operator's file alone; what is wrong in it, and put right by the collection, is left out."""
    layer = copy.deepcopy(layer)
    while True:
        try:
            return kind.model_validate(layer)
        except ValidationError as error:
            for item in error.errors(include_url=False):
                _drop(layer, [part for part in item["loc"] if isinstance(part, str)])


def _drop(layer: dict[str, Any], keys: list[str]) -> None:
    """Take out what the keys lead to, or the innermost block that is there."""
    if not keys:
        return layer.clear()
    inner = layer.get(keys[0])
    if len(keys) > 1 and isinstance(inner, dict) and keys[1] in inner:
        return _drop(inner, keys[1:])
    layer.pop(keys[0], None)
