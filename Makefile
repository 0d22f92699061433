# Two commands do all the set-up on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# A CPU build where the machine offers one; elsewhere, PyTorch's own CPU wheel of the same version.
TORCH ?= torch==2.13.0

.PHONY: demo zoo-demo box-demo test test-full lint types benchmarks proto docs pictures clean

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: setup.cfg pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$(TORCH)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[demo]"
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev,zoo,box,node]"
	touch $@

demo: $(VENV)/.installed
	$(BIN)/python examples/demo.py

$(VENV)/.installed-zoo: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[zoo]"
	touch $@

# A small language model learns to write from the documentation, and writes.
zoo-demo: $(VENV)/.installed-zoo
	$(BIN)/python -m modelzoo.demo

$(VENV)/.installed-box: $(VENV)/.installed-zoo
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[box]"
	touch $@

# The same model as a service, asked over HTTP.
box-demo: $(VENV)/.installed-box
	$(BIN)/python -m modelbox.demo

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

test: lint types
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not full"

test-full: $(VENV)/.installed-dev
	HYPOTHESIS_PROFILE=search $(BIN)/python -m pytest -n 2 --dist worksteal

benchmarks: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks.vs_torch
	$(BIN)/python -m benchmarks.ops
	$(BIN)/python -m benchmarks.overhead
	$(BIN)/python -m benchmarks.compile_time

# Code that the compiler of protobuf 6.30 makes runs on every protobuf from 6.30 to 7; a newer one shuts out the older.
PROTOC := $(VENV)/protoc
$(PROTOC)/bin/python:
	$(PYTHON) -m venv $(PROTOC)
	$(PROTOC)/bin/python -m pip install --quiet --disable-pip-version-check "grpcio-tools==1.72.2"

proto: $(PROTOC)/bin/python
	$(PROTOC)/bin/python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. pef/pef.proto
	$(PROTOC)/bin/python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. --grpc_python_out=. \
		modelbox/protocol/open_inference.proto modelbox/protocol/box.proto \
		runtime/node/protocol/snml_rpc.proto

$(VENV)/.installed-docs: $(VENV)/.installed-dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[docs]"
	touch $@

# The documentation as a site that needs no network: out/site/index.html. Warnings are errors.
docs: $(VENV)/.installed-docs
	$(BIN)/python docs/_site/build.py

# The pictures of docs/concepts.md, from PEFs compiled for them. Look at them afterwards.
pictures: $(VENV)/.installed
	$(BIN)/python docs/pictures/make.py

clean:
	rm -rf $(VENV) out build *.egg-info
