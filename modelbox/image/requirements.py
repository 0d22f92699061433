"""Which distributions a box needs: the toolchain's own requirements and theirs, as installed here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from configparser import ConfigParser
from importlib.metadata import Distribution, PackageNotFoundError, distribution

from packaging.requirements import Requirement

from ir.errors import Problem, UsageError
from modelbox.box_file import Home
from modelbox.image.contents import TOOLCHAIN
from modelbox.sources import HUGGING_FACE, ZOO, Source


def needed(home: Home) -> dict[str, Distribution]:
    """The distributions that the box needs, in the order of names. Raises UsageError where one is missing."""
    extras = ["box"] + (["zoo"] if Source.of(home.box.model).kind in (ZOO, HUGGING_FACE) else [])
    found: dict[str, Distribution] = {}
    for requirement in _own_requirements(extras):
        _follow(requirement, found)
    return dict(sorted(found.items()))


def pinned(home: Home) -> list[str]:
    """The same as lines of a requirements file."""
    return [f"{name}=={installed.version.partition('+')[0]}" for name, installed in needed(home).items()]


def _own_requirements(extras: Iterable[str]) -> Iterator[Requirement]:
    """What the toolchain itself says that it needs."""
    settings = ConfigParser()
    settings.read(TOOLCHAIN / "setup.cfg")
    if not settings.has_section("options"):
        raise UsageError(Problem("images are built from a checkout of the project", hint="pip install -e . in one"))
    texts = [settings["options"]["install_requires"]]
    texts += [settings["options.extras_require"][extra] for extra in extras]
    for line in "\n".join(texts).splitlines():
        if line.strip():
            yield from _asked_for(Requirement(line.strip()))


def _follow(requirement: Requirement, found: dict[str, Distribution]) -> None:
    """A requirement and those of it."""
    name = requirement.name.lower().replace("_", "-")
    if name in found:
        return
    try:
        installed = distribution(name)
    except PackageNotFoundError as error:
        hint = "install the extras first: pip install -e '.[box,zoo]'"
        raise UsageError(Problem(f"{name} is not installed here", hint=hint)) from error
    found[name] = installed
    for text in installed.requires or []:
        for needed in _asked_for(Requirement(text), requirement.extras):
            _follow(needed, found)


def _asked_for(requirement: Requirement, extras: Iterable[str] = ()) -> Iterator[Requirement]:
    """The requirement, if it holds on this computer and with these extras."""
    marker = requirement.marker
    if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
        yield requirement
