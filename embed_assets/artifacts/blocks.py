"""A block of settings: frozen, strict, one class for each stage, in the stage's room."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, Strict


class SettingsError(ValueError):
    """A settings file is wrong; the message names the file, the key, the value and what is allowed."""


Share = Annotated[float, Field(ge=0, lt=1)]
Strings = Annotated[tuple[str, ...], Strict(False)]


class Block(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
