"""What each tool takes, as the models write it: the bounds are ours, the defaults the contract's."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from orchestration.domain.validation import FromModel

MAX_COMMAND_SECONDS = 1800

Given = Annotated[str, Field(min_length=1)]


class ListFiles(FromModel):
    path: str = "."
    depth: Annotated[int, Field(ge=1, le=20)] = 2


class ReadFile(FromModel):
    path: str
    offset: Annotated[int, Field(ge=0)] = 0
    limit: Annotated[int, Field(ge=1, le=20_000)] = 2000


class WriteFile(FromModel):
    path: str
    content: str


class EditFile(FromModel):
    path: str
    old: Given
    new: str
    replace_all: bool = False


class Glob(FromModel):
    pattern: str


class Grep(FromModel):
    pattern: Given
    path: str = "."
    glob: str = ""


class GitLog(FromModel):
    limit: Annotated[int, Field(ge=1, le=1000)] = 20


class Bash(FromModel):
    command: Annotated[str, Field(min_length=1, max_length=200_000)]
    timeout_s: Annotated[float, Field(gt=0, le=MAX_COMMAND_SECONDS)] = 120


class AskHuman(FromModel):
    question: Annotated[str, Field(min_length=1, max_length=4000)]
    options: Annotated[list[Annotated[str, Field(min_length=1, max_length=500)]], Field(max_length=20)] = []


class SaveArtifact(FromModel):
    type: Annotated[str, Field(min_length=1, max_length=40)]
    name: Annotated[str, Field(min_length=1, max_length=200)]
    mime: Annotated[str, Field(max_length=100)] = "text/plain"
    path: str = ""
    content: str | None = None


class ShareResult(FromModel):
    key: str
    value: Any = None
    tags: list[str] = []


class GetResults(FromModel):
    key: str = ""
    tags: list[str] = []
    prefix: str = ""
    producer: str = ""
