"""Calls of the daemon, as functions that raise our errors."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any

import grpc

from ir.errors import NodeError, Problem, UsageError
from runtime.node.places import ERROR_CODE, Places, places
from runtime.node.protocol import snml_rpc_pb2 as pb
from runtime.node.protocol import snml_rpc_pb2_grpc as rpc

TIMEOUT_SECONDS = 10.0
START = "start it: snd --node sn30-8 &"


class Client:
    """A connection to the daemon of `where`; admin: to the socket of its own user."""

    def __init__(self, where: Places, admin: bool = False) -> None:
        path = where.admin_socket if admin else where.socket
        self._require(path, admin)
        self._channel = grpc.insecure_channel(f"unix:{path}")
        self._calls = vars(rpc.SNMLRPCStub(self._channel))
        if admin:
            self._calls |= vars(rpc.SNMLAdminRPCStub(self._channel))
        self._numbers = itertools.count(1)

    @staticmethod
    def _require(path: Path, admin: bool) -> None:
        if not path.exists():
            raise NodeError(Problem(f"no daemon manages a node: there is no socket {path}", hint=START))
        if admin and not _writable(path):
            hint = "run it as the user who started snd"
            raise NodeError(Problem(f"{path} is not open to you: this is for the node's administrator", hint=hint))

    def call(self, name: str, request: Any, timeout: float = TIMEOUT_SECONDS) -> Any:
        """Call `name`; the response. Raises UsageError for arguments of no use, NodeError where nobody answers."""
        request.request_id = next(self._numbers)
        try:
            response, call = self._calls[name].with_call(request, timeout=timeout)
            _refuse_usage(response, call)
            return response
        except grpc.RpcError as error:
            what = f"the node's daemon does not answer ({error.code().name})"
            raise NodeError(Problem(what, hint=START)) from error

    def ask(self, name: str, request: Any) -> Any:
        """Call `name`. Raises NodeError for what the response has in error_details."""
        response = self.call(name, request)
        NodeError.raise_if([Problem(text) for text in response.error_details])
        return response

    def stream(self, name: str, request: Any) -> Any:
        """The responses of a call that has several. Raises UsageError and NodeError for what is in error_details."""
        request.request_id = next(self._numbers)
        try:
            responses = self._calls[name](request, timeout=TIMEOUT_SECONDS)
            for response in responses:
                if response.error_details:
                    _refuse_usage(response, responses)
                    raise NodeError(*map(Problem, response.error_details))
                yield response
        except grpc.RpcError as error:
            what = f"the node's daemon does not answer ({error.code().name})"
            raise NodeError(Problem(what, hint=START)) from error

    def log(self, name: str, all_of_them: bool = False) -> tuple[list[str], list[list[str]]]:
        """The columns and rows of a log."""
        response = self.ask("GetLog", pb.LogRequest(log=name, all=all_of_them))
        return list(response.columns), [list(entry.values) for entry in response.entries]

    def close(self) -> None:
        """Give the connection back."""
        self._channel.close()


def _refuse_usage(response: Any, call: Any) -> None:
    """Raises what the daemon says of arguments that cannot be used as the UsageError that it was there."""
    if response.error_details and (ERROR_CODE, UsageError.code) in [tuple(pair) for pair in call.trailing_metadata()]:
        raise UsageError(*map(Problem, response.error_details))


def _writable(path: Path) -> bool:
    return os.access(path, os.W_OK)


def connect(admin: bool = False) -> Client:
    """The daemon that the environment names. Raises NodeError where there is none."""
    where = places()
    if where is None:
        raise NodeError(
            Problem("SNC_NODE is off: no daemon is asked", hint="unset SNC_NODE, or name a daemon's folder")
        )
    return Client(where, admin)
