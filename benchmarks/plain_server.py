"""A plain PyTorch server, to compare a box with: FastAPI and eager PyTorch, one request after another.

    python -m benchmarks.plain_server MODEL.PY

Prints one line of JSON with its address once it is ready.
"""

from __future__ import annotations

import json
import runpy
import socket
import sys
from typing import Any

import torch
import uvicorn
from fastapi import FastAPI, Request


def create_app(module: torch.nn.Module) -> FastAPI:
    """The Open Inference Protocol's infer, without any of its checks."""
    app = FastAPI()

    @app.post("/v2/models/{name}/infer")
    async def infer(name: str, request: Request) -> dict[str, Any]:
        given = (await request.json())["inputs"][0]
        with torch.inference_mode():
            output = module(torch.tensor(given["data"]).reshape(given["shape"]))
        data = output.reshape(-1).tolist()
        found = {"name": "output", "datatype": "FP32", "shape": list(output.shape), "data": data}
        return {"model_name": name, "outputs": [found]}

    return app


def main() -> None:
    """Serve until SIGTERM."""
    torch.set_num_threads(1)
    module = runpy.run_path(sys.argv[1])["model"]().eval()
    # Named, so that asyncio turns Nagle's algorithm off, as it does for the box.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    print(json.dumps({"http": f"http://127.0.0.1:{listening.getsockname()[1]}"}), flush=True)
    config = uvicorn.Config(create_app(module), log_level="warning", access_log=False)
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main()
