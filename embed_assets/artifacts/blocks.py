"""A block of settings: frozen, strict, one class for each stage, in the stage's room."""

import functools
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, Strict


class SettingsError(ValueError):
    """A settings file is wrong; the message names the file, the key, the value and what is allowed."""


IN_NO_FINGERPRINT = "in_no_fingerprint"
Share = Annotated[float, Field(ge=0, lt=1)]
Strings = Annotated[tuple[str, ...], Strict(False)]


class Block(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def operation(default: Any, **options: Any) -> Any:
    """A field that says how something is done, such as a timeout or a price: no result depends on it.

    It is in no fingerprint, so that a change of it computes nothing. Arguments as of pydantic's Field.
    """
    return Field(default, json_schema_extra={IN_NO_FINGERPRINT: True}, **options)


def content_of(block: Block) -> dict[str, Any]:
    """All of a block that results depend on, as JSON values: the fields made with ``operation`` are left out."""
    return block.model_dump(mode="json", exclude=_operations(type(block)))


@functools.cache
def _operations(kind: type[BaseModel]) -> dict[str, Any]:
    """The fields of a class, and of the blocks in it, that no result depends on, as pydantic's ``exclude``."""
    left_out: dict[str, Any] = {}
    for name, field in kind.model_fields.items():
        if isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get(IN_NO_FINGERPRINT):
            left_out[name] = True
        elif isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            left_out[name] = _operations(field.annotation)
    return left_out
