"""The command line: verbs, every attribute on every verb, what programs redefine, metadata through the PEF."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
import torch
from torch import nn

import sambaflow.samba as samba
from sambaflow.logging import samba_logger
from sambaflow.samba.argconf.args import CompileArgs, RunArgs
from sambaflow.samba.utils.argparser import SambaConfig, parse_app_args, parse_yaml_to_args
from sambaflow.samba.utils.common import common_app_driver
from sambaflow.samba.utils.pef_utils import PefInfoStruct, get_pef_info, get_pefmeta, get_pefmeta_dict
from tests.sdk.programs import batch, classifier, compiled

ATTRIBUTES = [
    "command", "batch_size", "microbatch_size", "inference", "pef", "mapping", "data_parallel", "reduce_on_rdu",
    "data_parallel_mode", "distlearn_config", "n_chips", "num_tiles", "num_spatial_batches", "num_iterations",
    "run_graph_only", "bench_report_json", "json", "json_counters", "compiled_stats_json", "min_duration",
    "num_sections", "use_sambaloader", "visualize", "acc_report_json", "gold_file_path", "output_folder", "pef_name",
    "resource_report_path", "verbose_report", "mac_human_decision", "mac_v1", "world_size", "listen_for_input",
    "mock_inference", "dump_accuracy_debug_info", "debug", "log_level",
]  # fmt: skip
VERBS = ("compile", "run", "test", "measure-performance", "measure-sections")
HARDWARE = [
    "--mac-v2", "--mac-human-decision", "hd.json", "--compiler-configs", "c.json", "--resources-scaling-factors", "1.5",
    "1.5", "2", "--enable-conv-tiling", "--num-tiles", "8", "--n-chips", "2", "--num-spatial-batches", "4", "--mapping",
    "spatial", "--weight-sharing", "--enable-stoc-rounding", "--tensor-parallel", "batch", "--o1", "--arch", "sn30",
    "--plot", "-mb", "2", "--data-parallel", "-ws", "2", "--target-runtime-version", "1.2.3",
]  # fmt: skip


@pytest.mark.parametrize("verb", VERBS)
def test_every_attribute_is_there_on_every_verb(verb: str) -> None:
    args = parse_app_args([verb])
    assert [name for name in ATTRIBUTES if not hasattr(args, name)] == []
    assert (args.command, args.batch_size, args.mapping) == (verb, 1, "section")


@pytest.mark.parametrize("verb", VERBS)
def test_hardware_options_are_accepted_on_every_verb(verb: str) -> None:
    args = parse_app_args([verb, *HARDWARE])
    assert (args.num_tiles, args.compiler_configs_file, args.microbatch_size) == (8, "c.json", 2)
    assert args.resources_scaling_factors == ["1.5", "1.5", "2"]


def test_hardware_options_are_recorded_in_the_pef() -> None:
    args = parse_app_args(["compile", *HARDWARE, "--output-folder", "out", "--pef-name", "m"])
    model = classifier()
    pef = samba.session.compile(model, batch(), name="app", config_dict=vars(args), inference=True)
    from pef import file
    from sambaflow.samba._device import agreement

    recorded = agreement.metadata(file.read(pef))["arguments"]
    assert (recorded["mac_human_decision"], recorded["num_tiles"], recorded["world_size"]) == ("hd.json", 8, 2)


def test_programs_redefine_options_and_add_short_ones() -> None:
    def common(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("-b", "--batch-size", type=int, default=32)
        parser.add_argument("--data-parallel", default="none")
        parser.add_argument("-mbsize", type=int, default=3)
        parser.add_argument("-lr", type=float, default=0.5)

    def run(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("-n", "--num-iterations", type=int, default=7)
        parser.add_argument("-e", "--num-epochs", type=int, default=1)

    args = parse_app_args(["run", "-e", "5", "-lr", "0.1", "-p=x.pef"], common_parser_fn=common, run_parser_fn=run)
    assert (args.batch_size, args.num_iterations, args.num_epochs, args.data_parallel) == (32, 7, 5, "none")
    assert (args.lr, args.mbsize, args.pef) == (0.1, 3, "x.pef")


def test_help_shows_experimental_options_only_when_asked(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, shown in ((["compile", "--help"], False), (["compile", "--debug", "--help"], True)):
        with pytest.raises(SystemExit):
            parse_app_args(arguments)
        assert ("--mac-human-decision" in capsys.readouterr().out) is shown


def test_yaml_lies_over_the_arguments(tmp_path: Path) -> None:
    (tmp_path / "app.yaml").write_text("batch-size: 16\nmodel:\n  hidden_size: 8\n")
    args = parse_yaml_to_args("app.yaml", parse_app_args(["run"]))
    assert (args.batch_size, args.hidden_size, args.command) == (16, 8, "run")
    assert SambaConfig(args).get_all_params()["batch_size"] == 16


def test_structured_arguments_keep_unknown_fields() -> None:
    args = CompileArgs(output_folder="o", num_tiles=8, something_new=[1])
    assert args.model_dump()["something_new"] == [1] and "num_tiles" in CompileArgs.model_fields
    assert RunArgs(pef="x.pef", arch="sn30").pef == "x.pef"
    samba.session.setup(args)
    assert samba.session.arguments["num_tiles"] == 8


def test_metadata_comes_back_exactly() -> None:
    stored = {"lengths": [1, 2, 3], "nested": {"a": None, "b": [True, 1.5, "text"]}, "name": "é"}
    pef = compiled(classifier(), batch(), inference=True, pef_metadata=stored)
    assert get_pef_info(pef, {name: PefInfoStruct() for name in stored}) == stored
    with pytest.raises(ValueError, match="holds no absent"):
        get_pef_info(pef, {"absent": PefInfoStruct()})


def test_pefmeta_is_a_dict_to_add_to() -> None:
    args = parse_app_args(["compile", "-b", "4"])
    meta = get_pefmeta(args, classifier())
    meta["input_shapes"] = [[4, 6]]
    assert (meta["batch_size"], meta["model"]) == (4, "classifier")
    assert get_pefmeta_dict({"a": 1}, classifier())["a"] == 1


def test_the_common_driver_compiles_measures_and_leaves_the_rest(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--pef-name", "m"]
    args = parse_app_args(["compile", *arguments])
    model = classifier()
    noted = {"note": [1, None]}
    pef = common_app_driver(args, model, batch(), samba.optim.SGD(model.parameters()), name="app", pef_metadata=noted)
    assert get_pef_info(pef, noted) == noted
    assert pef == str(Path("out/m/m.pef").absolute())
    args = parse_app_args(["measure-performance", "--pef", pef, "-n", "3"])
    common_app_driver(args, model, batch(), samba.optim.SGD(model.parameters()))
    printed = capsys.readouterr().out.splitlines()
    measured = next(number for number, line in enumerate(printed) if "measured over 3 iterations." in line)
    assert printed[measured + 1].startswith("NOTE: These are times of this computer, which simulates the RDU.")
    assert printed[measured + 2].startswith("simulated RDU latency: ")
    assert common_app_driver(parse_app_args(["run", "--pef", pef]), model, batch()) is None


def test_what_a_compile_prints_and_writes(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    compiled(classifier(), batch(), inference=True)
    lines = capsys.readouterr().out.splitlines()
    folder = tmp_path / "out" / "model"
    assert lines[0] == f"[Info][SAMBA]# Placing log files in {folder}/model.samba.log"
    assert lines[-1] == f"[info   ] PEF file {folder}/model.pef created"
    for name in ("model.pef", "model.samba.log", "model.mac.log", "model.plasma_compile.log"):
        assert (folder / name).stat().st_size
    assert (folder / "mac_gen" / "mac_resources.json").is_file()
    assert "torch.nn.functional.linear" in (folder / "model.samba.log").read_text()


def test_options_without_effect_are_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    args = parse_app_args(["compile", "--mac-v2", "--num-tiles", "8", "--mapping", "section", "--o0", "--arch", "sn30"])
    compiled(classifier(), batch(), inference=True, arguments=vars(args) | {"output_folder": "out", "pef_name": "m"})
    told = [line for line in capsys.readouterr().out.splitlines() if "without effect" in line]
    assert told == ["[info   ] Recorded in the PEF, without effect on the simulated device: --num-tiles, --mac-v2"]


def test_quiet_means_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    parse_app_args(["compile", "--log-level", "error"])
    compiled(classifier(), batch(), inference=True)
    assert capsys.readouterr().out == ""
    parse_app_args(["compile", "--log-level", "warning"])


def test_plain_models_are_converted_by_compile() -> None:
    model = nn.Linear(2, 2)
    compiled(model, torch.zeros(1, 2), inference=True)
    assert isinstance(model.weight, samba.SambaParameter)


def test_a_compile_warns_of_nothing_in_pytorch(recwarn: pytest.WarningsRecorder) -> None:
    model = classifier()
    compiled(model, batch(), samba.optim.SGD(model.parameters()))
    assert [str(warning.message) for warning in recwarn.list] == []


def test_two_compiles_of_a_program_give_the_same_file() -> None:
    class Hint:
        """An object that prints with its address."""

    files = []
    for _ in range(2):
        args = parse_app_args(["compile", "--pef-name", "m"])
        pef = common_app_driver(args, classifier(), batch(), name="app", metadata={"hint": Hint()})
        files.append(Path(pef).read_bytes())
    assert files[0] == files[1]


def test_a_hook_that_is_not_called_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(samba_logger, "warning", said.append)
    compiled(classifier(), batch(), inference=True, graph_transform_hook=lambda graph: graph)
    assert len(said) == 1 and said[0].startswith("graph_transform_hook is not called")
