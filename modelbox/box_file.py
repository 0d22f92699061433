"""box.yaml: what a box is. Its schema, reading it, and the paths in it, which never lead out of the box."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from ir.errors import Problem, UsageError
from ir.reading import what_went_wrong
from pef.files import readable_refusal

FILE = "box.yaml"
MIB = 2**20
SCHEMA = "`snc box schema` prints what it may hold"

Use = Literal["inference", "training", "generation"]
Value = bool | int | float | str
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")]
Positive = Annotated[int, Field(gt=0)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Profile(_Strict):
    """A PEF of the model: for what, how many samples or texts at a time, and for sequences of what length."""

    name: Name
    use: Use
    pef: str = Field(description="The PEF's path within the box.")
    batch: Positive
    length: Positive | None = Field(default=None, description="Tokens of a sequence; left out for models without.")
    prefill: tuple[Positive, ...] = Field(
        (), description="Of generation: how many tokens of a prompt are read at once."
    )


class Parameter(_Strict):
    """A named parameter of requests: its legal values, and the one it has where a request does not say."""

    type: Literal["number", "integer", "text", "boolean"]
    default: Value | None = None
    minimum: float | None = None
    maximum: float | None = None
    values: tuple[Value, ...] | None = Field(default=None, description="All legal values, where they can be listed.")
    about: str = ""

    @model_validator(mode="after")
    def _default_is_legal(self) -> Parameter:
        if self.default is not None and (fault := self.fault(self.default)):
            raise ValueError(f"the default {self.default!r} is not legal: {fault}")
        return self

    def fault(self, value: object) -> str | None:
        """What is wrong with a value, if anything."""
        kinds = {"number": (int, float), "integer": (int,), "text": (str,), "boolean": (bool,)}[self.type]
        if not isinstance(value, kinds) or (isinstance(value, bool) and self.type != "boolean"):
            return f"it takes {'an' if self.type == 'integer' else 'a'} {self.type}"
        if self.values is not None and value not in self.values:
            return f"legal values are {', '.join(map(str, self.values))}"
        if isinstance(value, (int, float)) and not (
            (self.minimum is None or value >= self.minimum) and (self.maximum is None or value <= self.maximum)
        ):
            return f"it must be {self._range()}"
        return None

    def _range(self) -> str:
        parts = [f"at least {self.minimum:g}"] if self.minimum is not None else []
        parts += [f"at most {self.maximum:g}"] if self.maximum is not None else []
        return " and ".join(parts) or "a finite number"


class Limits(_Strict):
    """Bounds on what one request, and all of them together, may take."""

    queue: Positive = Field(default=64, description="Requests that wait; one more is refused with 429.")
    body_bytes: Positive = Field(default=16 * MIB, description="Of one request.")
    queued_bytes: Positive = Field(default=256 * MIB, description="Of the inputs of all requests that wait.")
    request_seconds: float = Field(default=60.0, gt=0, description="A request that takes longer is given up with 504.")
    drain_seconds: float = Field(
        default=30.0, gt=0, description="What requests in flight are given when the service ends."
    )


class Listen(_Strict):
    """Where the service listens. Beyond this computer only where that is asked for, best with a key and TLS."""

    host: str = "127.0.0.1"
    http: int = Field(default=8080, ge=0, le=65535, description="Port; 0 for any that is free.")
    grpc: int = Field(default=8081, ge=0, le=65535, description="Port; 0 for any that is free.")


class Security(_Strict):
    """Who may call. Keys are kept as SHA-256 digests: `snc box key` makes one."""

    api_key_sha256: tuple[Annotated[str, Field(pattern="^[0-9a-f]{64}$")], ...] = ()
    tls_certificate: str | None = Field(default=None, description="PEM file within the box.")
    tls_key: str | None = Field(default=None, description="PEM file within the box.")

    @model_validator(mode="after")
    def _both_or_none(self) -> Security:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("TLS takes both tls_certificate and tls_key")
        return self


class Box(_Strict):
    """One model as a service."""

    box: Literal[1] = Field(description="Version of this schema.")
    name: Name
    about: str = ""
    model: str = Field(
        pattern=r"^(zoo:[a-z0-9_]+/[A-Za-z0-9._-]+|file:.+|huggingface:.+)$",
        description="zoo:NAME/SIZE, file:MODEL.PY[:NAME], or huggingface:FOLDER with a config.json; within the box.",
    )
    machine: str = "sn30"
    checkpoint: str | None = Field(
        default=None,
        description="A weights file or a Hugging Face folder in the box; without one, the initial weights.",
    )
    profiles: tuple[Profile, ...] = Field(description="The first that fits a request is the one that answers it.")
    parameters: dict[str, Parameter] = {}
    chat_template: str | None = Field(default=None, description="Jinja, for tokenizers that have none of their own.")
    limits: Limits = Limits()
    listen: Listen = Listen()
    security: Security = Security()

    @model_validator(mode="after")
    def _names_are_unique(self) -> Box:
        names = [profile.name for profile in self.profiles]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"several profiles are called {', '.join(twice)}")
        return self

    def of_use(self, use: Use) -> list[Profile]:
        """The profiles for one use, in order."""
        return [profile for profile in self.profiles if profile.use == use]

    @property
    def is_text(self) -> bool:
        """Whether requests are texts."""
        return bool(self.of_use("generation"))


@dataclass(frozen=True)
class Home:
    """A box and the folder it lives in."""

    folder: Path
    box: Box

    @staticmethod
    def read(folder: Path) -> Home:
        """The box in a folder. Raises UsageError for everything about box.yaml that is not as the schema says."""
        path = folder / FILE
        with readable_refusal(path, "read", "give the folder of a box; `snc box init` makes one"):
            text = path.read_text()
        return Home(folder.resolve(), parse(text, str(path)))

    def path(self, within: str) -> Path:
        """A path within the box. Raises UsageError where it leads out of it."""
        found = (self.folder / within).resolve()
        if not found.is_relative_to(self.folder):
            hint = "copy it into the box, or mount it there"
            raise UsageError(Problem(f"{within} lies outside the box {self.folder}", hint=hint))
        return found

    @property
    def state(self) -> Path:
        """What the service itself writes: jobs, data sets, checkpoints, PEFs."""
        return self.folder / "state"


def parse(text: str, where: str = FILE) -> Box:
    """A box from the text of a box.yaml. Raises UsageError with all that is wrong."""
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(Problem(f"{where} is not YAML: {what_went_wrong(error)}")) from error
    if not isinstance(found, dict):
        raise UsageError(Problem(f"{where} holds no settings", hint=SCHEMA))
    try:
        return Box.model_validate(found)
    except ValidationError as error:
        raise UsageError(*(_problem(fault, where) for fault in error.errors())) from error


def _problem(fault: ErrorDetails, where: str) -> Problem:
    key = ".".join(map(str, fault["loc"])) or "the file"
    if fault["type"] == "extra_forbidden":
        return Problem(f"there is no setting {key}", where, SCHEMA)
    return Problem(f"{key}: {fault['msg'].removeprefix('Value error, ')}", where, SCHEMA)


def as_text(box: Box) -> str:
    """A box as YAML, without what is as it would be anyway."""
    return yaml.safe_dump(box.model_dump(mode="json", exclude_defaults=True) | {"box": 1}, sort_keys=False)


def schema() -> dict[str, Any]:
    """The JSON schema of box.yaml."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Box.model_json_schema()}
