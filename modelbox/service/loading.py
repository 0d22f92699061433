"""The PEF of a profile in a session, with the checkpoint's weights in it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from ir.kernels.gemm import SameSums
from modelbox.box_file import Home, Profile
from runtime.files.weights import read_weights
from runtime.session import WEIGHTS, Session


def open_profile(home: Home, profile: Profile) -> Session:
    """A session that can run. Raises SncError where the checkpoint does not fit."""
    from modelzoo.device import open_pef

    session = open_pef(home.path(profile.pef))
    if home.box.checkpoint is None:
        return session
    path = home.path(home.box.checkpoint)
    if path.is_dir():
        from modelzoo.checkpoints.hugging_face import bind, pretrained

        bind(pretrained(path), session)
        return session
    weights = read_weights(path)
    wanted = session.names(*WEIGHTS)
    session.load_weights({name: weights[name] for name in wanted if name in weights}, strict=True)
    return session


def sharing(rows_are_independent: Callable[[], bool]) -> AbstractContextManager[None] | None:
    """The block to run batches in so that their rows do not influence one another; None where they do in any.

    Products as they are fastest often round a row by its place in the batch. Then those that round all rows alike are
    tried, which cost small models little.
    """
    for block in (nullcontext(), SameSums()):
        with block:
            if rows_are_independent():
                return block
    return None
