"""A model of this folder, with what `docs/models.md` says of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

Model = tuple[nn.Module, dict[str, Tensor]]


@dataclass(frozen=True)
class Entry:
    """`make` gives the model, in a small configuration with random weights, and its inputs. `title` and `trained_on`
    are read by people; `source` is the library that the model is from, or the file that defines it."""

    title: str
    trained_on: str
    source: str
    make: Callable[[], Model]


class Entries(dict[str, Entry]):
    """Entries of one source by name. Functions that make models are added with `@entries.add(title, trained_on)`."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.source = source

    def add(self, title: str, trained_on: str) -> Callable[[Callable[[], Model]], Callable[[], Model]]:
        """Note a function under its own name."""

        def note(make: Callable[[], Model]) -> Callable[[], Model]:
            self[make.__name__] = Entry(title, trained_on, self.source, make)
            return make

        return note
