"""A language model as a service: the one that `make zoo-demo` trained is put into a box, checked, served and asked.

make box-demo
"""

from __future__ import annotations

import json
import shlex
import shutil
import signal
import subprocess
import sys
import urllib.request
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from modelzoo import demo as zoo_demo

OUT = Path("out") / "box-demo"
QUESTION = {"model": "writer", "prompt": "The compiler ", "max_tokens": 32}


def main() -> None:
    """Do it all."""
    trained = zoo_demo.OUT / "trained"
    if not trained.is_dir():
        zoo_demo.main()
    shutil.rmtree(OUT, ignore_errors=True)
    snc = [str(Path(sys.executable).with_name("snc")), "box"]
    size = ["--length=128", "--prefill=16", "-b", "4"]
    zoo_demo.run([*snc, "init", str(OUT), f"--model=huggingface:{trained}", "--name=writer", *size])
    zoo_demo.run([*snc, "check", str(OUT)])
    serve = [*snc, "serve", str(OUT), "--http-port=0", "--grpc-port=0"]
    print(f"\n$ {shlex.join([Path(serve[0]).name, *serve[1:]])} &", flush=True)
    with subprocess.Popen(serve, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        where = json.loads(process.stdout.readline())
        print(json.dumps(where))
        ask(f"{where['http']}/v1")
        process.send_signal(signal.SIGTERM)
        status = process.wait()
    if status:
        raise SystemExit(f"the service ended with status {status}")


def ask(url: str) -> None:
    """By a plain request, and by OpenAI's client where it is installed."""
    body = json.dumps(QUESTION)
    print(f"\n$ curl {url}/completions -H 'Content-Type: application/json' -d {shlex.quote(body)}")
    request = urllib.request.Request(f"{url}/completions", body.encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        print(json.dumps(json.load(answer), indent=2, ensure_ascii=False))
    print(f"\n>>> OpenAI(base_url={url!r}, api_key='none').completions.create(**{QUESTION})")
    if find_spec("openai") is None:
        print("(not asked: `pip install openai` installs the client)")
    else:
        client: Any = import_module("openai").OpenAI(base_url=url, api_key="none")
        print(client.completions.create(**QUESTION).choices[0].text)


if __name__ == "__main__":
    main()
