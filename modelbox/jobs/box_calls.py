"""A box's own calls: Preprocess, Compile, Train and Infer, and looking after jobs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import numpy as np
from pydantic import ValidationError

from ir.op import Array
from modelbox.box_file import Profile
from modelbox.creation import profile_name
from modelbox.jobs.datasets import preprocess, require
from modelbox.jobs.store import Job, Jobs
from modelbox.parameters import known
from modelbox.protocol import box_pb2 as pb
from modelbox.protocol import box_pb2_grpc
from modelbox.refusal import Reason, Refusal
from modelbox.service.service import TEXT_IN, TEXT_OUT, Service
from modelbox.service.tensors import BYTES, from_raw, to_raw
from modelbox.sources import Source


class BoxCalls(box_pb2_grpc.ModelBoxServicer):
    """The calls. Errors are raised as refusals; the interceptor makes statuses of them."""

    def __init__(self, service: Service, jobs: Jobs) -> None:
        self._service, self._jobs = service, jobs
        self._home = service.home

    async def Preprocess(self, request: Any, context: Any) -> Any:
        profile = self._training("")
        tensors = _arrays(request.tensors)
        given = (self._home, profile, request.dataset, tensors, request.jsonl, request.file)
        stored = await asyncio.to_thread(preprocess, *given)
        return pb.PreprocessResponse(dataset=stored.name, samples=stored.samples, sha256=stored.sha256)

    async def Compile(self, request: Any, context: Any) -> AsyncIterator[Any]:
        self._require_open()
        profile = self._wanted(request)
        async for event in self._run("compile", {"profile": profile.model_dump(mode="json")}):
            yield event

    async def Train(self, request: Any, context: Any) -> AsyncIterator[Any]:
        self._require_open()
        if bool(request.steps) == bool(request.epochs):
            raise Refusal(Reason.INVALID, "give either steps or epochs", parameter="steps")
        if request.accept_recompiled and not request.resume:
            what = "accept_recompiled is about the checkpoint of a job to resume"
            raise Refusal(Reason.INVALID, what, parameter="accept_recompiled")
        rules = self._home.box.parameters
        for name, value in request.hyper.items():
            if name in rules and (fault := rules[name].fault(value)):
                raise Refusal(Reason.INVALID, f"{name} is {value}: {fault}", parameter=name)
        given = {
            "profile": self._training(request.profile).model_dump(mode="json"),
            "dataset": str(require(self._home, request.dataset)),
            "steps": request.steps,
            "epochs": request.epochs,
            "seed": request.seed,
            "hyper": dict(request.hyper),
            "checkpoint_every": request.checkpoint_every,
            "resume": str(self._jobs.last_checkpoint(request.resume)) if request.resume else "",
            "accept_recompiled": request.accept_recompiled,
        }
        async for event in self._run("train", given):
            yield event

    async def Infer(self, request: Any, context: Any) -> Any:
        if bool(request.prompts) == bool(request.inputs):
            raise Refusal(Reason.INVALID, "give either inputs or prompts")
        arrays = _arrays(request.inputs)
        if request.prompts:
            texts = np.empty(len(request.prompts), object)
            texts[:] = [prompt.encode() for prompt in request.prompts]
            arrays = {TEXT_IN: texts}
        found = await self._service.infer(
            arrays,
            self._parameters(request.parameters),
            profile=request.profile or None,
            seconds=context.time_remaining(),
        )
        answer = pb.InferResponse(simulated_rdu_ns=found.simulated_rdu_ns, profile=found.profile)
        for tensor in self._service.outputs:
            array = found.outputs[tensor.name]
            if tensor.name == TEXT_OUT and tensor.datatype == BYTES:
                answer.texts.extend(value.decode("utf-8", "replace") for value in array)
            else:
                data = to_raw(tensor.datatype, array)
                answer.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=array.shape, data=data)
        return answer

    async def Jobs(self, request: Any, context: Any) -> Any:
        return pb.JobsResponse(jobs=[_told(job) for job in self._jobs.all()])

    async def Cancel(self, request: Any, context: Any) -> Any:
        return _told(await self._jobs.cancel(request.id))

    async def _run(self, kind: str, given: Mapping[str, Any]) -> AsyncIterator[Any]:
        running = self._jobs.run(kind, given)
        try:
            async for identity, event in running:
                yield _event(identity, event)
        finally:
            await running.aclose()  # type: ignore[attr-defined]

    def _require_open(self) -> None:
        if not self._service.ready:
            raise Refusal(Reason.UNAVAILABLE, "the service is ending", retry_after=10)

    def _training(self, name: str) -> Profile:
        """The named profile, or the first for training; those compiled here too."""
        profiles = [p for p in (*self._home.box.profiles, *self._jobs.profiles()) if p.use == "training"]
        for profile in profiles:
            if name in ("", profile.name):
                return profile
        listed = ", ".join(profile.name for profile in profiles) or "none: Compile makes one"
        raise Refusal(Reason.CONFLICT, f"profiles for training are {listed}", parameter="profile")

    def _wanted(self, request: Any) -> Profile:
        """What is to be compiled. Raises Refusal for what the model cannot be compiled for."""
        uses = Source.of(self._home.box.model).uses
        if request.use not in uses:
            raise Refusal(Reason.INVALID, f"use must be one of {', '.join(uses)}", parameter="use")
        for name in ("batch", "length"):
            value = getattr(request, name)
            rule = self._home.box.parameters.get(name)
            if value and rule is not None and (fault := rule.fault(value)):
                raise Refusal(Reason.INVALID, f"{name} is {value}: {fault}", parameter=name)
        name = profile_name(request.use, request.batch, request.length or None)
        try:
            return Profile(
                name=name,
                use=request.use,
                pef=f"state/pefs/{name}/{name}.pef",
                batch=request.batch,
                length=request.length or None,
                prefill=(),
            )
        except ValidationError as error:
            raise Refusal(Reason.INVALID, "batch must be at least 1", parameter="batch") from error

    def _parameters(self, given: Mapping[str, float]) -> dict[str, Any]:
        """Numbers as the box's parameters have them: whole ones where whole ones are legal."""
        rules = known(self._home.box)
        whole = {name for name, rule in rules.items() if rule.type == "integer"}
        return {
            name: int(value) if name in whole and float(value).is_integer() else value for name, value in given.items()
        }


def _arrays(tensors: Any) -> dict[str, Array]:
    return {tensor.name: from_raw(tensor.name, tensor.datatype, list(tensor.shape), tensor.data) for tensor in tensors}


def _event(identity: str, event: dict[str, Any]) -> Any:
    kind = event.pop("event")
    messages = {
        "started": pb.Started,
        "progress": pb.Progress,
        "step": pb.Step,
        "checkpoint": pb.Checkpoint,
        "finished": pb.Finished,
    }
    return pb.JobEvent(job=identity, **{kind: messages[kind](**event)})


def _told(job: Job) -> Any:
    return pb.Job(id=job.id, kind=job.kind, state=job.state, message=job.message, step=job.step, path=job.path)
