"""The whole toolchain on real data: compile, train, checkpoint, infer, compare with PyTorch, look at the cycles.

    make demo

Trains examples/res_ffn.py on the 1,797 handwritten digits that ship with scikit-learn, on the simulated RDU.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from sklearn.datasets import load_digits

from compiler.driver import CompileRequest, CompileResult, compile_model
from compiler.frontend.model_file import load_model
from runtime.files.checkpoint import Progress, write_checkpoint
from runtime.files.weights import read_weights
from runtime.profile import tables as profile
from runtime.session import Session
from runtime.timing import simulate

EXAMPLES = Path(__file__).parent
OUT = Path("out")
MODEL = str(EXAMPLES / "res_ffn.py")
BATCH = 64
EPOCHS = 20
TEST_IMAGES = 360

Arrays = dict[str, np.ndarray]


def digits() -> tuple[Arrays, Arrays]:
    """Training and test images [n, 64] in 0..1 with labels [n], shuffled once."""
    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    images = (data.data[order] / 16).astype(np.float32)
    labels = data.target[order].astype(np.int32)
    split = len(labels) - TEST_IMAGES
    return (
        {"image": images[:split], "label": labels[:split]},
        {"image": images[split:], "label": labels[split:]},
    )


def compiled(name: str, *, inference: bool) -> CompileResult:
    """Compile the model, saying what came out."""
    start = time.perf_counter()
    result = compile_model(CompileRequest(MODEL, inference, BATCH, OUT, name))
    size = result.pef_path.stat().st_size
    print(f"compiled {result.pef_path} ({size / 1024:.1f} KiB) in {time.perf_counter() - start:.1f} s of host time")
    return result


def train(session: Session, data: Arrays) -> None:
    """Train for some epochs of full batches, printing loss and accuracy of each."""
    random = np.random.default_rng(1)
    batches = len(data["label"]) // BATCH
    for epoch in range(EPOCHS):
        order = random.permutation(len(data["label"]))[: batches * BATCH].reshape(batches, BATCH)
        losses, correct = [], 0
        for rows in order:
            outputs = session.run(inputs={name: array[rows] for name, array in data.items()})
            losses.append(float(outputs["loss"]))
            correct += int((outputs["output"].argmax(1) == data["label"][rows]).sum())
        print(f"epoch {epoch + 1:2}  loss {np.mean(losses):.4f}  accuracy {correct / order.size:6.1%}")


def predict(session: Session, data: Arrays) -> np.ndarray:
    """The predicted class of every image; the last batch is padded with the first images."""
    count = len(data["label"])
    rows = np.resize(np.arange(count), -(-count // BATCH) * BATCH).reshape(-1, BATCH)
    outputs = [session.run(inputs={name: array[batch] for name, array in data.items()})["output"] for batch in rows]
    return np.concatenate(outputs).argmax(1)[:count]


def predict_with_pytorch(weights: Arrays, data: Arrays) -> np.ndarray:
    """The same weights in PyTorch."""
    model = load_model(MODEL, BATCH).model.eval()
    model.load_state_dict({name: torch.from_numpy(weights[name]) for name in model.state_dict()})
    with torch.no_grad():
        _, logits = model(torch.from_numpy(data["image"]), torch.from_numpy(data["label"]).long())
    return logits.argmax(1).numpy()


def main() -> None:
    start = time.perf_counter()
    training_data, test_data = digits()

    print("== compile for training")
    training = compiled("res_ffn", inference=False)
    session = Session(training.pef_path)
    session.load_weights(read_weights(training.weights_path), strict=False)

    print("== train on the simulated RDU")
    train(session, training_data)
    checkpoint = OUT / "res_ffn" / "checkpoints" / "trained.safetensors"
    steps = EPOCHS * (len(training_data["label"]) // BATCH)
    write_checkpoint(checkpoint, session, Progress(steps, seed=1))
    print(f"checkpoint {checkpoint}")

    print("== compile for inference")
    inference = compiled("res_ffn_inference", inference=True)
    sizes = [result.pef_path.stat().st_size for result in (training, inference)]
    print(f"PEF sizes: training {sizes[0]:,} bytes, inference {sizes[1]:,} bytes ({sizes[1] / sizes[0]:.0%})")

    print("== infer")
    weights = read_weights(checkpoint)
    classifier = Session(inference.pef_path)
    classifier.load_weights(weights, strict=False)
    predictions = predict(classifier, test_data)
    results = OUT / "res_ffn_inference" / "results" / "predictions.npz"
    results.parent.mkdir(parents=True, exist_ok=True)
    np.savez(results, predictions=predictions)
    print(f"results {results}")
    accuracy = (predictions == test_data["label"]).mean()
    agreement = (predictions == predict_with_pytorch(weights, test_data)).mean()
    print(f"test accuracy {accuracy:.1%}; agreement with PyTorch on the same weights {agreement:.1%}")

    print("== where the simulated time goes")
    profile.render(simulate(session.pef), Console())
    print(f"host time after installation: {time.perf_counter() - start:.1f} s")
    if accuracy < 0.95 or agreement < 1 or sizes[1] * 2 > sizes[0]:
        raise SystemExit("the demo fell short of what it promises")


if __name__ == "__main__":
    main()
