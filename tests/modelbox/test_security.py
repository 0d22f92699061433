"""Keys and TLS: over both protocols, nobody without the key is answered, and nobody in clear."""

from __future__ import annotations

import hashlib
import shutil
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

import grpc
import httpx
import pytest

from modelbox.box_file import Home
from modelbox.protocol import open_inference_pb2 as oi
from modelbox.protocol.open_inference_pb2_grpc import GRPCInferenceServiceStub
from tests.modelbox.boxes import changed, serving

KEY = "a key"


@pytest.fixture
def locked(dense: Home, copy: Callable[[Home], Home]) -> Home:
    """A box with a key and a certificate for 127.0.0.1."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    home = copy(dense)
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=box"]
    files = ["-keyout", str(home.folder / "key.pem"), "-out", str(home.folder / "certificate.pem")]
    subprocess.run([*made, *files, "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    security = {"api_key_sha256": [digest], "tls_certificate": "certificate.pem", "tls_key": "key.pem"}
    return changed(home, security=security)


def test_nobody_without_the_key_and_nobody_in_clear(locked: Home, tmp_path: Path) -> None:
    certificate = locked.folder / "certificate.pem"
    trusted = ssl.create_default_context(cafile=str(certificate))
    with serving(locked, tmp_path / "log") as (_, where):
        assert where["http"].startswith("https://")
        path = "/v2/models/dense"
        with httpx.Client(base_url=where["http"], verify=trusted) as client:
            assert client.get(path).status_code == 401
            assert client.get(path, headers={"Authorization": "Bearer another"}).status_code == 401
            assert client.get(path, headers={"Authorization": f"Bearer {KEY}"}).status_code == 200
            assert client.get("/health").status_code == 200
        with pytest.raises(httpx.HTTPError):
            httpx.get(where["http"].replace("https", "http") + path)
        with pytest.raises(httpx.ConnectError):
            httpx.get(where["http"] + path)  # whose certificate is that?
        credentials = grpc.ssl_channel_credentials(certificate.read_bytes())
        with grpc.secure_channel(where["grpc"], credentials) as channel:
            stub = GRPCInferenceServiceStub(channel)
            with pytest.raises(grpc.RpcError) as error:
                stub.ServerReady(oi.ServerReadyRequest())
            assert error.value.code() is grpc.StatusCode.UNAUTHENTICATED
            key = (("authorization", f"Bearer {KEY}"),)
            assert stub.ServerReady(oi.ServerReadyRequest(), metadata=key).ready
        with grpc.insecure_channel(where["grpc"]) as channel, pytest.raises(grpc.RpcError) as error:
            GRPCInferenceServiceStub(channel).ServerReady(oi.ServerReadyRequest(), timeout=5)
        assert error.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
