"""Names, files and surroundings that nobody planned for: the work is done, or one error says why not."""

from __future__ import annotations

import configparser
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from runtime.numbers import memory
from tests.cli.conftest import MODEL, Compiled, assert_refused, run_snc, run_snrun

ROOT = Path(__file__).parents[2]

ONE_LAYER = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 3)

    def forward(self, x):
        {body}

model = Net
inputs = {inputs}
{rest}
"""


def net(body: str = "return self.linear(x)", inputs: str = "{'x': torch.randn(2, 4)}", rest: str = "") -> str:
    return ONE_LAYER.format(body=body, inputs=inputs, rest=rest)


def written(folder: Path, text: str, name: str = "net.py") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def process(module: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command as a process of its own."""
    call = f"import sys; from {module} import main; sys.argv[0] = 'x'; main()"
    return subprocess.run(
        [sys.executable, "-c", call, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )


# ---- where results go


def test_a_trace_into_a_pipe_leaves_the_pipe(inference: Compiled, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    assert run_snrun(inference.pef, "--timing-only", "--trace", pipe).exit_code == 0
    reader.join(30)
    assert pipe.is_fifo() and b"traceEvents" in read[0]


def test_a_link_stays_a_link(inference: Compiled, tmp_path: Path) -> None:
    target, link = tmp_path / "elsewhere.json", tmp_path / "link.json"
    target.write_text("old")
    link.symlink_to(target)
    assert run_snrun(inference.pef, "--timing-only", "--trace", link).exit_code == 0
    assert link.is_symlink() and "traceEvents" in target.read_text()


@pytest.mark.parametrize(
    "name", ["../../x", "/tmp/x", "a/b", "..", "", "a\nb", "\x1b[2Jx", "x" * 201, os.fsdecode(b"caf\xe9")]
)
def test_names_of_pefs_that_are_none(tmp_path: Path, name: str) -> None:
    result = run_snc("compile", written(tmp_path, net()), "-o", tmp_path / "out", "--inference", "--pef-name", name)
    assert_refused(result, "USAGE", "cannot be the name of a PEF", "--pef-name")
    assert not (tmp_path / "out").exists()


def test_a_second_compile_into_the_folder_is_told(tmp_path: Path) -> None:
    from pef.locks import only_writer

    with only_writer(tmp_path / "out" / "net", "compiles into", "wait"):
        result = run_snc("compile", written(tmp_path, net()), "-o", tmp_path / "out", "--inference")
    assert_refused(result, "USAGE", "another process compiles into", "--pef-name")
    assert not (tmp_path / "out").exists(), "nothing was written"


def test_a_second_training_into_the_folder_is_told(training: Compiled, tmp_path: Path) -> None:
    from pef.locks import only_writer

    with only_writer(tmp_path / "kept", "trains", "wait"):
        result = run_snrun(training.pef, "--train", "--steps", 1, "--checkpoint-dir", tmp_path / "kept")
    assert_refused(result, "USAGE", "another process writes checkpoints into", "--checkpoint-dir")


@pytest.mark.parametrize("folder", ["x" * 300, "/proc/nowhere/x", "file/below"])
def test_folders_that_cannot_be(inference: Compiled, tmp_path: Path, folder: str) -> None:
    (tmp_path / "file").touch()
    place = tmp_path / folder
    assert_refused(run_snrun(inference.pef, "--output", place), "USAGE", "cannot be written", "try: ")
    result = run_snc("compile", written(tmp_path, net()), "-o", place, "--inference")
    assert_refused(result, "USAGE", "cannot be written", "try: ")


@pytest.mark.parametrize("option", ["--input", "--weights", "--reference"])
def test_names_that_are_too_long(inference: Compiled, tmp_path: Path, option: str) -> None:
    result = run_snrun(inference.pef, option, tmp_path / f"{'x' * 300}.npz")
    assert_refused(result, "USAGE", "cannot be read", "File name too long", "try: ")
    assert_refused(run_snrun(tmp_path / ("x" * 300), "--timing-only"), "PEF", "cannot be read")
    assert_refused(run_snc("compile", tmp_path / f"{'x' * 300}.py"), "USAGE", "cannot be read")


# ---- files that belong together


def test_weights_of_another_compile_are_noticed(inference: Compiled) -> None:
    weights = load_file(inference.weights)
    save_file(
        {name: array * 2 if name == "first.bias" else array for name, array in weights.items()}, inference.weights
    )
    result = run_snrun(inference.pef)
    assert_refused(result, "PEF", "small.safetensors does not hold the initial weights", "compile the model again")
    assert run_snrun(inference.pef, "--timing-only").exit_code == 0, "simulated time needs no weights"


# ---- exit status


@pytest.mark.parametrize("words", [["describe"], ["describe", "--json"], ["describe", "--section", "*", "--nets"]])
def test_output_that_nobody_reads_any_more(training: Compiled, words: list[str]) -> None:
    """As in `snc describe x.pef | head -1`."""
    reading, writing = os.pipe()
    os.close(reading)
    call = "from compiler.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", call, words[0], str(training.pef), *words[1:]],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=writing,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writing)
    assert done.returncode == 1 and done.stderr == b""


@pytest.mark.parametrize(
    "place",
    [
        "import sys; sys.exit(0)",
        "def optimizer(parameters): raise SystemExit(0)",
        "import os; os._exit(0)",
        "def optimizer(parameters): import os; os._exit(0)",
    ],
)
def test_a_model_file_that_ends_the_program(tmp_path: Path, place: str) -> None:
    result = run_snc(
        "compile", written(tmp_path, net("return self.linear(x).sum()", rest=place)), "-o", tmp_path / "out"
    )
    assert_refused(result, "USAGE", "net.py:", "ended the program", "sys.exit()")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("end", ["raise SystemExit(0)", "import os; os._exit(0)"])
def test_a_model_that_ends_the_program_when_it_is_called(tmp_path: Path, end: str) -> None:
    result = run_snc("compile", written(tmp_path, net(end)), "-o", tmp_path / "out", "--inference")
    assert result.exit_code != 0 and "error[" in result.stderr and "Traceback" not in result.stderr
    assert not list((tmp_path / "out").rglob("*.pef"))


def test_a_sambaflow_program_that_compiles_nothing(tmp_path: Path) -> None:
    program = written(tmp_path, "import sys\nfrom sambaflow import samba\nsys.exit(0)\n")
    done = process("compiler.cli", "compile", program, "-o", tmp_path / "out")
    assert done.returncode != 0 and "error[USAGE]" in done.stderr and "wrote no PEF" in done.stderr


@pytest.mark.parametrize("verbose", [False, True])
def test_what_nobody_foresaw_is_one_line(inference: Compiled, monkeypatch: pytest.MonkeyPatch, verbose: bool) -> None:
    def stumble(*_: object, **__: object) -> None:
        raise KeyError("no such thing")

    monkeypatch.setattr("runtime.snrun.command.infer", stumble)
    monkeypatch.setattr("pef.check.check", stumble)
    options = ["-v"] if verbose else []
    for result in (run_snrun(inference.pef, *options), run_snc("check", inference.pef, *options)):
        assert result.exit_code == 1 and isinstance(result.exception, SystemExit)
        errors = [line for line in result.stderr.splitlines() if line.startswith("error[")]
        assert errors == [errors[0]] and errors[0].startswith("error[INTERNAL]: KeyError in ")
        assert ("Traceback" in result.stderr) is verbose


# ---- simulated time


def test_simulated_time_takes_no_tensor_memory(training: Compiled, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(size: int) -> np.ndarray:  # type: ignore[type-arg]
        raise MemoryError

    monkeypatch.setattr(memory, "aligned_zeros", no_memory)
    assert run_snrun(training.pef, "--train", "--timing-only").exit_code == 0
    assert_refused(run_snrun(training.pef), "MEMORY", "GiB, more than this computer", "--timing-only")


# ---- what a command is given


def test_a_hyper_parameter_called_self(training: Compiled) -> None:
    result = run_snrun(training.pef, "--train", "--steps", 1, "--hyper", "self=1")
    assert_refused(result, "BIND", "no hyper-parameter 'self'")
    result = run_snrun(training.pef, "--train", "--steps", 1, "--hyper", "lr=nan")
    assert_refused(result, "BIND", "'lr' is nan", "finite")
    result = run_snrun(training.pef, "--hyper", "features=1")
    assert_refused(result, "BIND", "no hyper-parameter 'features'")


@pytest.mark.parametrize("command", ["snc", "snrun"])
def test_seeds_below_zero(training: Compiled, tmp_path: Path, command: str) -> None:
    if command == "snc":
        result = run_snc("compile", written(tmp_path, net()), "--seed", -1)
    else:
        result = run_snrun(training.pef, "--train", "--steps", 1, "--seed", -1)
    assert result.exit_code == 2 and "--seed" in result.stderr and "Traceback" not in result.stderr


STATES = {
    "sparse": (lambda w: w.to_sparse(), "is sparse", ".to_dense()"),
    "meta": (lambda w: w.to("meta"), "no content", "tensors with content"),
    "quantised": (lambda w: torch.quantize_per_tensor(w, 0.1, 0, torch.qint8), "quantised", ".dequantize()"),
    "no tensor": (lambda w: "text", "is a str", "state_dict"),
}


@pytest.mark.parametrize("case", STATES)
@pytest.mark.filterwarnings("ignore")
def test_state_dicts_of_other_tensors(inference: Compiled, tmp_path: Path, case: str) -> None:
    change, said, remedy = STATES[case]
    torch.save({"first.weight": change(torch.ones(12, 8))}, tmp_path / "w.pt")
    assert_refused(run_snrun(inference.pef, "--weights", tmp_path / "w.pt"), "USAGE", "'first.weight'", said, remedy)


def test_a_state_dict_in_eight_bits(inference: Compiled, tmp_path: Path) -> None:
    """Numbers that NumPy does not know are widened."""
    weights = {name: torch.from_numpy(array) for name, array in load_file(inference.weights).items() if "." in name}
    torch.save({name: tensor.to(torch.float8_e4m3fn) for name, tensor in weights.items()}, tmp_path / "w.pt")
    assert run_snrun(inference.pef, "--weights", tmp_path / "w.pt").exit_code == 0


def test_a_transposed_weight_is_not_to_be_reshaped(inference: Compiled, tmp_path: Path) -> None:
    weights = load_file(inference.weights)
    weights["first.weight"] = np.ascontiguousarray(weights["first.weight"].T)
    save_file(weights, tmp_path / "w.safetensors")
    result = run_snrun(inference.pef, "--weights", tmp_path / "w.safetensors")
    assert_refused(result, "BIND", "'first.weight' has shape [8, 12]", "try: .T")
    assert "reshape" not in result.stderr


def test_weights_of_a_model_with_many_thousand_others(inference: Compiled, tmp_path: Path) -> None:
    """A message stays readable, and nobody waits for it."""
    others = {f"model.layers.{number}.weight": np.zeros(1, np.float32) for number in range(50_000)}
    save_file(others, tmp_path / "w.safetensors")
    result = run_snrun(inference.pef, "--weights", tmp_path / "w.safetensors")
    assert_refused(result, "USAGE", "lacks 'first.weight'")
    save_file({**load_file(inference.weights), **others}, tmp_path / "w.safetensors")
    result = run_snrun(inference.pef, "--weights", tmp_path / "w.safetensors")
    assert result.exit_code == 0 and "and 49992 more" in result.stderr


# ---- model files


@pytest.mark.parametrize("encoding, cookie", [("utf-8-sig", ""), ("latin-1", "# -*- coding: latin-1 -*-\n")])
def test_model_files_in_other_encodings(tmp_path: Path, encoding: str, cookie: str) -> None:
    path = tmp_path / "net.py"
    path.write_bytes((cookie + "# déjà vu\n" + net()).encode(encoding))
    assert run_snc("compile", path, "-o", tmp_path / "out", "--inference").exit_code == 0


def test_a_model_file_in_an_unknown_encoding(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_bytes(("NAME = 'déjà vu'\n" + net()).encode("latin-1"))
    result = run_snc("compile", tmp_path / "net.py", "-o", tmp_path / "out", "--inference")
    assert_refused(result, "USAGE", "net.py:", "syntax error")


def test_a_model_file_whose_name_is_not_utf_8(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.py")
    path.write_text(net())
    result = run_snc("compile", path, "-o", tmp_path / "out", "--inference")
    assert_refused(result, "USAGE", "characters that cannot be shown", "UTF-8")


def test_names_that_look_like_markup(tmp_path: Path) -> None:
    source = written(tmp_path, net("return {'[/a]': self.linear(x)}", rest="Net.__name__ = '[/b]'"))
    options = ["-o", tmp_path / "out", "--inference", "--pef-name", "[bold]"]
    done = run_snc("compile", source, *options)
    assert done.exit_code == 0, done.output
    pef = tmp_path / "out" / "[bold]" / "[bold].pef"
    for result in (run_snc("describe", pef), run_snc("check", source), run_snrun(pef, "--profile")):
        assert result.exit_code == 0, result.output
    assert "[bold]" in done.stdout and "[bold]" in run_snc("describe", pef).stdout


def test_an_output_called_file(tmp_path: Path) -> None:
    source = written(tmp_path, net("return {'file': self.linear(x), 'arr_0': x}"))
    assert run_snc("compile", source, "-o", tmp_path / "out", "--inference").exit_code == 0
    result = run_snrun(tmp_path / "out" / "net" / "net.pef", "--test")
    assert result.exit_code == 0, result.output


def test_a_model_that_returns_nothing(tmp_path: Path) -> None:
    result = run_snc("compile", written(tmp_path, net("return None")), "-o", tmp_path / "out", "--inference")
    assert result.exit_code != 0 and "error[" in result.stderr and "INTERNAL" not in result.stderr, result.output


def test_streams_in_another_encoding(tmp_path: Path) -> None:
    source = tmp_path / "größe.py"
    source.write_text(MODEL.replace("class Small", "class Größe").replace("model = Small", "model = Größe"))
    ascii_only = {"PYTHONIOENCODING": "ascii"}
    done = process("compiler.cli", "compile", source, "-o", tmp_path / "out", "--inference", **ascii_only)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    pef = tmp_path / "out" / "größe" / "größe.pef"
    for module, *arguments in (("runtime.snrun.cli", "--profile"), ("compiler.cli",)):
        words = [*arguments, pef] if module == "runtime.snrun.cli" else ["describe", pef]
        done = process(module, *words, **ascii_only)
        assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr


@pytest.mark.parametrize(
    ("package", "program", "extra"),
    [
        ("transformers", "from compiler.cli import main; main(['zoo', 'show', 'gpt'])", "zoo"),
        ("fastapi", "from compiler.cli import main; main(['box', 'serve', '.'])", "box"),
        ("grpc", "from runtime.node.tools.sntilestat import main; main([])", "node"),
        ("hydra", "import runpy; runpy.run_module('modelzoo.runners.rdu_train_llm', run_name='__main__')", "zoo"),
    ],
)
def test_a_missing_extra_is_named(package: str, program: str, extra: str, tmp_path: Path) -> None:
    code = f"import sys; sys.modules[{package!r}] = None; {program}"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    expected = f"error[EXTRA]: the Python package {package} is not installed\n    try: pip install 'snc[{extra}]'"
    assert ended.returncode == 1 and ended.stderr.startswith(expected), ended.stderr
    distribution = configparser.ConfigParser()
    distribution.read(Path(__file__).parents[2] / "setup.cfg")
    assert extra in distribution["options.extras_require"]
