"""A block of settings: frozen, strict, one class for each stage, in the stage's room."""

import functools
import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl, urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator, Strict
from pydantic.fields import FieldInfo

from embed_assets.artifacts.errors import UserError
from embed_assets.artifacts.secrets import SECRET_NAME

AUTO = "auto"
IN_NO_FINGERPRINT = "in_no_fingerprint"
ADDED_LATER = "added_later"
SECRET_PARAMETERS = re.compile(rf"{SECRET_NAME}|^sig$", re.IGNORECASE)


class SettingsError(UserError, ValueError):
    """A settings file is wrong; the message names the file, the key, the value and what is allowed."""


class Block(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


@dataclass(frozen=True)
class Outside:
    """Marks a setting that leads out of a collection's own data, which only the operator may decide.

    Args:
        allowed_by: the list of the block ``allowed`` that has to name what a collection may set here.
        model: for remote code, the field of the same block with the model whose code it is.
        revision: and the field with the revision of that model.
    """

    allowed_by: str
    model: str = ""
    revision: str = ""


def _without_credentials(address: str) -> str:
    """An address, if it holds nothing that is secret; the message of the error does not repeat it."""
    if re.search(r"[\s\\\x00-\x1f]", address):
        raise ValueError("an address has neither spaces nor backslashes")
    parts = urlsplit(address)
    user, at, _ = parts.netloc.rpartition("@")
    container = parts.scheme.startswith("abfs") and ":" not in user  # container@account, as Azure writes it
    if at and not container:
        raise ValueError("an address must not hold a user name, a password or a token: give them in environment variables")
    for name, _ in parse_qsl(parts.query, keep_blank_values=True):
        if SECRET_PARAMETERS.search(name):
            raise ValueError(f"an address must not hold the parameter {name!r}: give keys in environment variables")
    return address


def _variable_name(name: str) -> str:
    if name and not re.fullmatch(r"[A-Z_][A-Z0-9_]*", name):
        raise ValueError(
            "this is not the name of an environment variable (capital letters, digits and '_'): "
            "put the key into a variable, and give the variable's name here"
        )
    return name


def _auto_or_weight(value: Any) -> float | str:
    if value == AUTO:
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1:
        return float(value)
    raise ValueError(f"expected {AUTO!r} or a number from 0 to 1")


Share = Annotated[float, Field(ge=0, lt=1)]
# A weight that is given, or chosen on dev queries.
AutoOrWeight = Annotated[float | Literal["auto"], PlainValidator(_auto_or_weight)]
Strings = Annotated[tuple[str, ...], Strict(False)]
# What leads out of a collection.
Address = Annotated[str, AfterValidator(_without_credentials), Outside("hosts")]
Addresses = Annotated[tuple[Annotated[str, AfterValidator(_without_credentials)], ...], Strict(False), Outside("hosts")]
Database = Annotated[str, AfterValidator(_without_credentials), Outside("databases")]
KeyVariable = Annotated[str, AfterValidator(_variable_name), Outside("key_variables")]
RemoteCode = Annotated[bool, Outside("remote_code", "name", "revision")]


def operation(default: Any, **options: Any) -> Any:
    """A field that says how something is done, such as a timeout or a price: no result depends on it.

    It is in no fingerprint, so that a change of it computes nothing. Arguments as of pydantic's Field.
    """
    return Field(default, json_schema_extra={IN_NO_FINGERPRINT: True}, **options)


def added(default: Any, **options: Any) -> Any:
    """A field that came after results had been stored, and whose default says what was done before it came.

    It is in fingerprints only where it differs from its default, so that nothing is computed again because it came. Who
    changes the default raises the code versions of the stages that read it. Arguments as of pydantic's Field.
    """
    return Field(default, json_schema_extra={ADDED_LATER: True}, **options)


def content_of(block: Block) -> dict[str, Any]:
    """All of a block that results depend on, as JSON values.

    The fields made with ``operation`` are left out, and those made with ``added`` where they have their default.
    """
    content = block.model_dump(mode="json", exclude=_operations(type(block)))
    _leave_out_defaults(block, content)
    return content


def _leave_out_defaults(block: BaseModel, content: dict[str, Any]) -> None:
    for name, field in type(block).model_fields.items():
        value = getattr(block, name)
        if isinstance(value, BaseModel):
            if name in content:
                _leave_out_defaults(value, content[name])
        elif _is(field, ADDED_LATER) and value == field.default:
            content.pop(name, None)


def _is(field: FieldInfo, mark: str) -> bool:
    return isinstance(field.json_schema_extra, dict) and bool(field.json_schema_extra.get(mark))


@functools.cache
def _operations(kind: type[BaseModel]) -> dict[str, Any]:
    """The fields of a class, and of the blocks in it, that no result depends on, as pydantic's ``exclude``."""
    left_out: dict[str, Any] = {}
    for name, field in kind.model_fields.items():
        if _is(field, IN_NO_FINGERPRINT):
            left_out[name] = True
        elif isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            left_out[name] = _operations(field.annotation)
    return left_out
