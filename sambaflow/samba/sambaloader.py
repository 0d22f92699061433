"""A data loader that prefetches: a thread reads batches ahead and hands over named SambaTensors."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor

from ir.errors import Problem, UsageError
from pef.wording import listed
from sambaflow.samba.sambatensor import SambaTensor, from_torch_tensor


class DataLoaderException(Exception):
    """The wrapped data loader raised, or gave nothing within the timeout."""


class _End:
    """Put into the queue after the last batch, with the error that ended it."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


class SambaLoader:
    """Wraps an iterable of batches (iterables of tensors) and yields lists of SambaTensors called `names`.

    maxsize: batches read ahead. function_hook: from a batch to the tensors to convert. return_original_batch: yield
    (samba_batch, batch). ignore_dataloader_exception: end quietly where the loader raises. timeout: seconds to wait
    for a batch.
    """

    def __init__(
        self,
        dataloader: Iterable[Any],
        names: Sequence[str],
        maxsize: int = 10,
        function_hook: Callable[[Any], Any] = lambda batch: batch,
        return_original_batch: bool = False,
        ignore_dataloader_exception: bool = False,
        timeout: float = 900,
    ) -> None:
        self.dataloader = dataloader
        self.names = list(names)
        self.maxsize = maxsize
        self.function_hook = function_hook
        self.return_original_batch = return_original_batch
        self.ignore_dataloader_exception = ignore_dataloader_exception
        self.timeout = timeout

    def __len__(self) -> int:
        return len(self.dataloader)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Any]:
        ready: queue.Queue[Any] = queue.Queue(self.maxsize)
        stop = threading.Event()
        thread = threading.Thread(target=self._fill, args=(ready, stop), daemon=True, name="samba-loader")
        thread.start()
        try:
            while True:
                item = self._next(ready)
                if isinstance(item, _End):
                    if item.error is not None and not self.ignore_dataloader_exception:
                        raise DataLoaderException(f"the data loader raised {_told(item.error)}") from item.error
                    return
                yield item
        finally:
            stop.set()
            thread.join(timeout=1)

    def _next(self, ready: queue.Queue[Any]) -> Any:
        try:
            return ready.get(timeout=self.timeout)
        except queue.Empty:
            raise DataLoaderException(f"the data loader gave no batch within {self.timeout} seconds") from None

    def _fill(self, ready: queue.Queue[Any], stop: threading.Event) -> None:
        """Read ahead until the data ends or nobody listens any more."""
        error: BaseException | None = None
        try:
            for batch in self.dataloader:
                if not _put(ready, self._converted(batch), stop):
                    return
        except Exception as raised:
            error = raised
        _put(ready, _End(error), stop)

    def _converted(self, batch: Any) -> Any:
        tensors = self.function_hook(batch)
        if isinstance(tensors, Mapping):
            keys = listed([f"batch[{name!r}]" for name in tensors])
            hint = f"give the tensors in the order of the names: function_hook=lambda batch: [{keys}]"
            raise UsageError(Problem("a batch of the data loader is a dict", hint=hint))
        tensors = (tensors,) if isinstance(tensors, Tensor) else tuple(tensors)
        if len(tensors) != len(self.names):
            hint = "give SambaLoader one name for each tensor, or choose tensors with function_hook"
            counts = f"a batch has {len(tensors)} tensors, but {len(self.names)} names are given: {listed(self.names)}"
            raise UsageError(Problem(counts, hint=hint))
        named = [_named(tensor, name) for tensor, name in zip(tensors, self.names)]
        return (named, batch) if self.return_original_batch else named


def _told(error: BaseException) -> str:
    return str(error) if isinstance(error, UsageError) else repr(error)


def _named(tensor: Any, name: str) -> SambaTensor:
    return from_torch_tensor(tensor, name=name, batch_dim=0)


def _put(ready: queue.Queue[Any], item: Any, stop: threading.Event) -> bool:
    """Put an item as soon as there is room; whether anybody still listens."""
    while not stop.is_set():
        try:
            ready.put(item, timeout=0.1)
        except queue.Full:
            continue
        return True
    return False
