"""Loader, profiler, collections, comparisons, kernels and other things around the session."""

from __future__ import annotations

import argparse
import gzip
import importlib
import itertools
import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import sambaflow
import sambaflow.samba as samba
from sambaflow.logging import samba_logger
from sambaflow.samba import sn_private, utils
from sambaflow.samba._capture.convert import lacks_content
from sambaflow.samba.functional import stir
from sambaflow.samba.lazy_param import RNGProviderFactory, lazy_param
from sambaflow.samba.materialize import materialize
from sambaflow.samba.profiler import Profiler
from sambaflow.samba.sambaloader import DataLoaderException, SambaLoader
from sambaflow.samba.test import TestWithGold, consistency_test
from sambaflow.samba.utils.benchmark_acc import AccuracyReport
from sambaflow.samba.utils.checkpoint import load_sharded_checkpoint
from sambaflow.samba.utils.dataset.mnist import dataset_transform, prepare_dataloader
from sambaflow.sambacollections import OrderedSet
from tests.sdk.programs import batch, classifier, compiled

ROOT = Path(__file__).parent.parent.parent
MODULES = [
    "sambaflow.logging", "sambaflow.mac.metadata", "sambaflow.sambacollections", "sambaflow.sn_private",
    "sambaflow.samba.argconf.args", "sambaflow.samba.directives", "sambaflow.samba.env",
    "sambaflow.samba.experiment_logger", "sambaflow.samba.functional.arithmetic",
    "sambaflow.samba.functional.logical", "sambaflow.samba.functional.loss", "sambaflow.samba.functional.reduce",
    "sambaflow.samba.functional.stir", "sambaflow.samba.functional.tensorarithmetic",
    "sambaflow.samba.functional.tensorops", "sambaflow.samba.functional.functional_decorator_utils",
    "sambaflow.samba.graph", "sambaflow.samba.lazy_param", "sambaflow.samba.materialize",
    "sambaflow.samba.nn.parameter", "sambaflow.samba.optim", "sambaflow.samba.profiler",
    "sambaflow.samba.sambaloader", "sambaflow.samba.sambatensor", "sambaflow.samba.schema.snconfig",
    "sambaflow.samba.session", "sambaflow.samba.sn_private", "sambaflow.samba.test",
    "sambaflow.samba.utils.argparser", "sambaflow.samba.utils.benchmark_acc", "sambaflow.samba.utils.checkpoint",
    "sambaflow.samba.utils.common", "sambaflow.samba.utils.dataset.mnist", "sambaflow.samba.utils.numeric",
    "sambaflow.samba.utils.pef_utils", "sambaflow.samba.utils.read_perf_counters",
    "sambaflow.samba.utils.tensorboard_debug", "sambaflow.samba.utils.trainer.samba",
    "sambaflow.samba.utils.trainer.torch",
]  # fmt: skip


@pytest.mark.parametrize("module", MODULES)
def test_every_module_imports(module: str) -> None:
    assert importlib.import_module(module).__doc__


def test_the_session_is_an_object_on_samba() -> None:
    assert isinstance(sambaflow.samba.session, samba.SambaSession) and sambaflow.is_demo() is False
    assert sambaflow.samba.optim.SGD is samba.optim.SGD and sambaflow.__version__[0].isdigit()


def test_modules_are_attributes_of_samba() -> None:
    """In a fresh process: other tests import the modules by name."""
    names = ["utils.argparser.parse_app_args", "utils.pef_utils.get_pefmeta", "utils.common.common_app_driver"]
    names += ["utils.dataset.mnist.dataset_transform", "utils.benchmark_acc.AccuracyReport", "sn_private.sn_gather"]
    names += ["sambaloader.SambaLoader", "graph.FwdGraph", "lazy_param.lazy_param", "argconf.args.RunArgs"]
    program = "\n".join(["import sambaflow.samba as samba", *(f"samba.{name}" for name in names)])
    result = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert (result.returncode, result.stderr) == (0, "")


def test_schedulers_of_learning_rates_take_the_device_for_the_optimizer(recwarn: pytest.WarningsRecorder) -> None:
    scheduler = torch.optim.lr_scheduler.MultiStepLR(samba.optim.SGD(nn.Linear(1, 1).parameters(), lr=1.0), [2], 0.5)
    rates = []
    for _ in range(3):
        rates += scheduler.get_last_lr()
        scheduler.step()
    assert rates == [1.0, 1.0, 0.5] and not recwarn.list


def test_the_loader_names_tensors_and_reads_ahead() -> None:
    taken = []

    def batches() -> object:
        for number in itertools.count():
            taken.append(number)
            yield torch.full((2,), float(number)), torch.tensor([number])

    iterator = iter(SambaLoader(batches(), ["x", "y"], maxsize=3))
    first = next(iterator)
    deadline = time.monotonic() + 5
    while len(taken) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert [t.sn_name for t in first] == ["x", "y"] and first[0].tolist() == [0.0, 0.0]
    assert 4 <= len(taken) <= 5, "batches are made ahead, but no more than asked for"
    iterator.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "samba-loader"]


def test_the_loader_hands_on_originals_hooks_lengths_and_errors() -> None:
    data = [(torch.ones(1), torch.zeros(1))]
    loader = SambaLoader(data, ["b"], function_hook=lambda pair: [pair[1]], return_original_batch=True)
    ((named, original),) = list(loader)
    assert len(loader) == 1 and original is data[0] and named[0].sn_name == "b"
    failing = (1 / 0 for _ in range(1))
    with pytest.raises(DataLoaderException, match="ZeroDivisionError"):
        list(SambaLoader(failing, ["x"]))
    with pytest.raises(DataLoaderException, match="a batch has 2 tensors, but 1 names are given: image"):
        list(SambaLoader(data, ["image"]))
    with pytest.raises(DataLoaderException, match=r"is a dict(?s:.)*\[batch\['x'\], batch\['y'\]\]"):
        list(SambaLoader([{"x": data[0][0], "y": data[0][1]}], ["x", "y"]))
    with pytest.raises(DataLoaderException, match="no batch within"):
        list(SambaLoader((time.sleep(1) for _ in range(1)), ["x"], timeout=0.05))


def test_the_profiler_times_events_as_context_and_decorator() -> None:
    profiler = Profiler()

    @profiler.event("step")
    def step() -> None:
        with profiler.event("inner"):
            time.sleep(0.002)

    step()
    profiler.start_profile()
    for _ in range(3):
        step()
    handle = profiler.start_event("tail")
    profiler.end_event(handle)
    profiler.stop_profile()
    step()
    assert len(profiler._get_iter_times("step", 0)) == 3
    latency = profiler.get_latencies(["step"], 1)["step"]
    assert latency >= 0.002
    assert profiler.get_throughputs(["step"], 10, 1)["step"] == pytest.approx(10 / latency)
    assert "step: 2 times, latency" in profiler.print_statistics(["step"], 1, measurements=["latency"])


def test_ordered_sets_tell_tensors_apart_by_identity() -> None:
    a, b = torch.ones(2), torch.ones(2)
    chosen = OrderedSet([a])
    chosen.add(("name", b))
    assert a in chosen and b not in chosen and ("name", b) in chosen
    assert chosen[0] is a and len(chosen.difference([a])) == 1


def test_assert_close_takes_any_mix() -> None:
    utils.assert_close(samba.ones(3), torch.ones(3), "x")
    utils.assert_close(None, None, "unused.weight")
    with pytest.raises(AssertionError, match="weight: one of the two is None"):
        utils.assert_close(None, torch.ones(2), "weight")
    with pytest.raises(AssertionError, match=r"logits: 1 of 3 elements differ.*first at \[1\]"):
        utils.assert_close(torch.tensor([1.0, 2.0, 1.0]), samba.ones(3), "logits", 0.5, 0.1)
    with pytest.raises(AssertionError, match="shapes"):
        utils.assert_close(torch.ones(2), torch.ones(3))


def test_messages_can_be_limited(capsys: pytest.CaptureFixture[str]) -> None:
    messages = []
    samba_logger.logger.addFilter(lambda record: messages.append(record.getMessage()) is not None)
    for _ in range(5):
        samba_logger.warning("often", log_limit=2)
    samba_logger.logger.filters.clear()
    assert messages == ["often", "often"]


def test_stir_kernels_are_elementwise_functions() -> None:
    x = torch.arange(6.0).reshape(2, 3)
    doubled = stir.sn_zipmapreduce(lambda a, b: a * 2 + b, [x, torch.ones(3)])
    assert torch.equal(doubled, x * 2 + 1)

    def masked(attrs: stir.Attributes, a: torch.Tensor) -> torch.Tensor:
        return stir.sn_select(stir.sn_iteridx(attrs, 1, torch.int32) >= 1, a, stir.sn_imm(0.0, torch.float32))

    total = stir.sn_zipmapreduce(masked, [x], reduce_func="sum", reduce_dim=1)
    assert total.tolist() == [3.0, 9.0]


def test_indexed_reads_and_writes() -> None:
    x = torch.arange(24.0).reshape(2, 4, 3)
    starts = torch.tensor([[[1]], [[2]]])
    rows = sn_private.sn_gather(x, starts, [0], [2], batched_dims=1)
    assert torch.equal(rows, torch.stack([x[0, 1:3], x[1, 2:4]])[:, None])
    update = torch.full((2, 1, 2, 3), -1.0)
    written = sn_private.sn_scatter(x, update, starts, [0], batched_dims=1)
    expected = x.clone()
    expected[0, 1:3], expected[1, 2:4] = -1, -1
    assert torch.equal(written, expected)
    probabilities = torch.tensor([[0.25, 0.75], [1.0, 0.0]])
    assert sn_private.sn_multinomial(probabilities, torch.tensor([0.5, 0.9])).tolist() == [[1], [0]]


def test_lazy_parameters_get_content_when_asked() -> None:
    with lazy_param():
        model = nn.Linear(3, 2)
    assert lacks_content(model)
    samba.from_torch_model_(model)
    with materialize(model) as real:
        assert not lacks_content(real) and real(torch.ones(1, 3)).shape == (1, 2)
    provider = RNGProviderFactory().build_provider()
    assert provider().normal(0.0, 1.0, (2, 2), dtype=torch.bfloat16).dtype is torch.bfloat16


def test_test_with_gold_compares_outputs_and_gradients(capsys: pytest.CaptureFixture[str]) -> None:
    model = classifier()
    optimizer = samba.optim.SGD(model.parameters(), lr=0.1)
    pef = compiled(model, batch(), optimizer)
    args = argparse.Namespace(pef=pef, mapping="section")
    TestWithGold(args, "classifier", model, batch(), optimizer).test()
    assert "lin_layer.weight__grad" in capsys.readouterr().out


def test_consistency_runs_twice() -> None:
    numbers = itertools.count()

    @consistency_test()
    def changing() -> list[tuple[str, torch.Tensor]]:
        return [("x", torch.tensor(float(next(numbers))))]

    with pytest.raises(AssertionError, match="x differs between two runs"):
        changing()


def test_mnist_files_become_vectors(tmp_path: Path) -> None:
    images = np.arange(2 * 4, dtype=np.uint8).reshape(2, 2, 2)
    for part in ("train", "t10k"):
        header = bytes([0, 0, 8, 3]) + np.array([2, 2, 2], ">u4").tobytes()
        (tmp_path / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(header + images.tobytes()))
        labels = bytes([0, 0, 8, 1]) + np.array([2], ">u4").tobytes() + bytes([3, 7])
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(labels)
    _, test = prepare_dataloader({"data_dir": str(tmp_path), "num_features": 4, "batch_size": 2})
    pixels, labels = next(iter(test))
    assert labels.tolist() == [3, 7]
    torch.testing.assert_close(pixels[1], dataset_transform({"num_features": 4})(images[1]))


def test_sharded_checkpoints(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    model, source = nn.Linear(2, 2), nn.Linear(2, 2)
    save_file({"weight": source.weight.detach()}, tmp_path / "a.safetensors")
    save_file({"bias": source.bias.detach()}, tmp_path / "b.safetensors")
    index = {"weight_map": {"weight": "a.safetensors", "bias": "b.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    samba.from_torch_model_(model)
    load_sharded_checkpoint(model, str(tmp_path))
    assert torch.equal(samba.to_torch(model.weight), source.weight)
    with pytest.raises(Exception, match="holds no checkpoint"):
        load_sharded_checkpoint(model, str(tmp_path / "nowhere"))


def test_accuracy_reports(tmp_path: Path) -> None:
    AccuracyReport(val_metrics={"acc": 0.5}, batch_size=4).save("acc.json")
    assert json.loads((tmp_path / "acc.json").read_text())["val_metrics"] == {"acc": 0.5}


def test_accepted_hints() -> None:
    with samba.directives.op_fusion(func_name="Encoder", heuristic="MHA"), samba.directives.sdpa_directives({}):
        pass
    module = nn.Linear(1, 1)
    samba.directives.op_fusion(module, "Encoder")
    assert module.op_fusion_name == "Encoder"
    assert utils.get_rank() == 0 and utils.get_world_size() == 1 and utils.is_main_process()
    assert samba.env.use_mock_samba_runtime() is False
    assert utils.SNType.to_torch_reference_type(utils.SNType.UINT16) is torch.int32


def test_unet_keeps_the_size_of_images() -> None:
    from sambaflow.models.unet import UNet

    assert UNet(1, 3, channels=4, depth=2)(torch.randn(2, 1, 16, 8)).shape == (2, 3, 16, 8)
