"""The PEF of a profile in a session, with the checkpoint's weights in it."""

from __future__ import annotations

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
