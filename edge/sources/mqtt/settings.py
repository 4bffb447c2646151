"""Defines how to reach the broker and what to be called there (the `mqtt:` table of edge.yaml, a camera's options)."""

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from edge.sources.mqtt.topics import Topics, valid_level

MB = 1024 * 1024


class Tls(BaseModel):
    """Names the files for an encrypted connection. Without `ca` the system's certificate authorities are trusted."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ca: Path | None = Field(None, description="PEM file of the authority that signed the broker's certificate")
    cert: Path | None = Field(None, description="PEM file of our own certificate, where the broker asks for one")
    key: Path | None = Field(None, description="PEM file of our own private key, goes with `cert`")

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if (self.cert is None) != (self.key is None):
            raise ValueError("tls needs both `cert` and `key`, or neither")
        return self


class MqttSettings(BaseModel):
    """Sets up the connection to the broker. Every key may be left out; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = Field("127.0.0.1", min_length=1, description="name or address of the broker")
    port: int = Field(1883, ge=1, le=65535, description="its TCP port (8883 is customary with tls)")
    client_id: str | None = Field(
        None, min_length=1, description="must be unique at the broker; `leeway-<node>` if left out"
    )
    prefix: str = Field("leeway", description="first level(s) of every topic; must be unique per installation")
    node: str = Field("box", description="second level of every topic: the name of this box")
    qos: Literal[0, 1, 2] = Field(0, description="quality of service of the frame subscription")
    username: str | None = Field(None, description="for brokers that want one")
    password: str | None = Field(None, repr=False, description="goes with `username`")
    tls: Tls | None = Field(None, description="files for an encrypted connection; `{}` trusts the system's authorities")
    keepalive: int = Field(20, ge=2, le=65535, description="seconds of silence after which the other side is checked")
    frame_bytes_max: int = Field(8 * MB, ge=1024, le=256 * MB, description="larger frames are dropped and counted")
    outgoing_bytes_max: int = Field(8 * MB, ge=1024, le=256 * MB, description="bytes that may wait for the network")
    protocol: Literal["auto", "5", "3.1.1"] = Field(
        "auto", description="auto: MQTT 5, or 3.1.1 where the broker refuses it"
    )
    reconnect_max_s: float = Field(2.0, ge=0.2, le=60.0, description="longest pause between two attempts to connect")

    @field_validator("prefix")
    @classmethod
    def _prefix(cls, prefix: str) -> str:
        for level in prefix.split("/"):
            valid_level(level)
        return prefix

    @field_validator("node")
    @classmethod
    def _node(cls, node: str) -> str:
        return valid_level(node)

    @property
    def topics(self) -> Topics:
        return Topics(self.prefix, self.node)

    @property
    def name(self) -> str:
        """Returns the client id in use."""
        return self.client_id or f"leeway-{self.node}"
