"""What an identifier looks like, where a collection says so."""

from pydantic import Field, field_validator

from embed_assets.artifacts.blocks import Block, Strings
from embed_assets.text.identifiers import IDENTIFIER_PATTERNS, compile_pattern


class IdentifierSettings(Block):
    """What counts as an identifier: for look-ups, questions, labels, hard negatives, leaks and hybrid search alike."""

    patterns: Strings = Field(
        IDENTIFIER_PATTERNS, description="regular expressions of identifiers, in the syntax of the Python module regex"
    )
    extra_patterns: Strings = Field((), description="more of them, beside patterns")

    @field_validator("patterns", "extra_patterns")
    @classmethod
    def _compiles(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            compile_pattern(pattern)
        return patterns

    @property
    def all_patterns(self) -> tuple[str, ...]:
        return self.patterns + self.extra_patterns
