"""An actor beside the driver, through which workers on other nodes read and write a folder of its, and tell it news."""

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Self

from embed_assets.artifacts.files import files_below
from embed_assets.cluster.files import BYTES_IN_A_PART, append, parts_of

BUILDING = ".building-"


class Folder:
    """The body of the actor.

    Args:
        root: the folder of the driver.
    """

    def __init__(self, root: Path):
        self._root = root
        self._news: list[Any] = []
        self._closed = False
        for left in root.glob(f"**/{BUILDING}*"):  # of a training that was killed
            shutil.rmtree(left, ignore_errors=True)

    def names(self, folder: str) -> list[str]:
        """The files below a folder, by their names relative to it."""
        place = self._root / folder
        found = files_below(place) if place.is_dir() else iter(())
        return sorted(path.relative_to(place).as_posix() for path in found if BUILDING not in path.as_posix())

    def read(self, name: str, start: int) -> bytes:
        """A part of a file."""
        with (self._root / name).open("rb") as stream:
            stream.seek(start)
            return stream.read(BYTES_IN_A_PART)

    def write(self, folder: str, name: str, part: bytes, first: bool) -> None:
        """Write a part of a file of a folder that is not there yet: it comes with its commit."""
        append(self._building(folder) / name, part, anew=first)

    def commit(self, folder: str, keep: list[str] | None = None) -> None:
        """Give a folder that was written its name, in the place of one that had it.

        Args:
            folder: as it was written to.
            keep: names of the folders beside it that stay; None: all.
        """
        target = self._root / folder
        shutil.rmtree(target, ignore_errors=True)
        self._building(folder).rename(target)
        if keep is not None:
            for other in list(target.parent.iterdir()):
                if other.name not in keep:
                    shutil.rmtree(other, ignore_errors=True)

    def tell(self, news: Any) -> None:
        """Leave news for the driver."""
        self._news.append(news)

    def take_news(self) -> list[Any]:
        """What was told since the last look."""
        news, self._news = self._news, []
        return news

    def close(self) -> None:
        """Let workers that are started again know that there is nothing more to do."""
        self._closed = True

    def is_closed(self) -> bool:
        return self._closed

    def _building(self, folder: str) -> Path:
        target = self._root / folder
        return target.with_name(f"{BUILDING}{target.name}")


class Desk:
    """The actor, as the driver and the workers see it; it can be sent to workers.

    Args:
        actor: with a Folder.
    """

    def __init__(self, actor: Any):
        self._actor = actor

    @classmethod
    def open(cls, root: Path) -> Self:
        """Start the actor on the node of this process, which has joined a cluster."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        return cls(ray.remote(Folder).options(num_cpus=0, scheduling_strategy=here).remote(root))

    def close(self) -> None:
        """End the actor."""
        import ray

        if ray.is_initialized():  # after an interrupt there is nothing left to end
            ray.kill(self._actor)

    def ask(self, method: str, *arguments: Any) -> Any:
        """Call a method of Folder."""
        import ray

        return ray.get(getattr(self._actor, method).remote(*arguments))

    def parts(self, folder: str) -> Iterator[tuple[str, bytes]]:
        """The files below a folder of the driver in parts, each with the name of its file relative to the folder."""
        for name in self.ask("names", folder):
            start = 0
            while (part := self.ask("read", f"{folder}/{name}", start)) or not start:
                yield name, part
                if len(part) < BYTES_IN_A_PART:
                    break
                start += len(part)

    def fetch(self, folder: str, target: Path) -> None:
        """Copy a folder of the driver to this node."""
        for name, part in self.parts(folder):
            append(target / name, part)

    def send(self, source: Path, folder: str, names: Iterable[str]) -> None:
        """Copy files of a folder of this node to a folder of the driver, which is there once it is committed."""
        for name in names:
            for number, part in enumerate(parts_of(source / name)):
                self.ask("write", folder, name, part, number == 0)
