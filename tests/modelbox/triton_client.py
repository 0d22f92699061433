"""What a user of Triton's clients does, with a box of the dense network: `triton_client.py http|grpc ADDRESS`."""

from __future__ import annotations

import importlib
import sys

import numpy as np


def main(kind: str, address: str) -> None:
    """Raises where an answer is not as it should be."""
    module = importlib.import_module(f"tritonclient.{kind}")
    client = module.InferenceServerClient(address)
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("dense")
    rows = np.ones((2, 8), np.float32)
    given = module.InferInput("x", rows.shape, "FP32")
    given.set_data_from_numpy(rows)
    answer = client.infer("dense", [given], outputs=[module.InferRequestedOutput("output")], request_id="7")
    found = answer.as_numpy("output")
    assert found.shape == (2, 3) and np.array_equal(found[0], found[1])
    wrong = module.InferInput("x", [2, 9], "FP32")
    wrong.set_data_from_numpy(np.ones((2, 9), np.float32))
    try:
        client.infer("dense", [wrong])
    except importlib.import_module("tritonclient.utils").InferenceServerException as error:
        assert "x is [2, 9], not [-1, 8]" in str(error), error
    else:
        raise AssertionError("rows of nine elements were answered")


if __name__ == "__main__":
    main(*sys.argv[1:])
