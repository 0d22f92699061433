"""Boxes are compiled once for all tests here; a test that changes one copies it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("grpc")

from modelbox.box_file import Home
from modelbox.service.service import Service
from tests.modelbox import boxes


@pytest.fixture(scope="session")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return boxes.dense(tmp_path_factory.mktemp("boxes") / "dense", training=True)


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Home:
    pytest.importorskip("transformers")
    return boxes.llama(tmp_path_factory.mktemp("boxes") / "llama")


@pytest.fixture
def copy(tmp_path: Path) -> Callable[[Home], Home]:
    """A box of the test's own."""

    def copied(home: Home) -> Home:
        folder = tmp_path / "box"
        shutil.copytree(home.folder, folder)
        return Home(folder, home.box)

    return copied


@pytest.fixture(scope="session")
def dense_service(dense: Home) -> Iterator[Service]:
    service = Service(dense)
    yield service
    service.close()


@pytest.fixture(scope="session")
def llama_service(llama: Home) -> Iterator[Service]:
    service = Service(llama)
    yield service
    service.close()
