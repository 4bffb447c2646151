"""Defines where clients reach us to ask with tensors, and how much they may ask (the `http:` table of edge.yaml)."""

from pydantic import BaseModel, ConfigDict, Field


class HttpSettings(BaseModel):
    """Opens a port that asks for no password: every client that reaches it may ask.

    Keep it on this machine, or in a network of yours.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = Field("127.0.0.1", min_length=1, description="address to listen on; 0.0.0.0: on all of them")
    port: int = Field(8000, ge=0, le=65535, description="TCP port; 0: one that is free")
    slo_ms: float = Field(
        1000.0, gt=0, description="deadline of a question that names none and whose model has no app of its own, ms"
    )
    rows_max: int = Field(32, ge=1, le=1024, description="rows of one question; each is scheduled by itself")
    open_max: int = Field(128, ge=1, le=4096, description="rows that may wait for their answers; more get 503")
    body_mb: int = Field(64, ge=1, le=1024, description="size of a question")
