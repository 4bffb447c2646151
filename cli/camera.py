"""Implements `leeway camera`, which publishes pictures over MQTT as a camera would."""

import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.output import AsJson, complain, emit, table
from porting.errors import UserError

if TYPE_CHECKING:
    from edge.sources.camera.publisher import CameraPublisher
    from edge.sources.mqtt.connection import Link
    from edge.sources.mqtt.settings import MqttSettings

WAIT_S = 0.2
FPS = 5.0


def camera(
    source: Annotated[
        str,
        typer.Argument(
            help="A folder or zip of pictures, a video file or URL, [bold]junction[/bold], or module:Class."
        ),
    ],
    host: Annotated[str, typer.Option(help="Name or address of the MQTT broker.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Its TCP port.")] = 1883,
    prefix: Annotated[str, typer.Option(help="First level of the topics.")] = "leeway",
    node: Annotated[str, typer.Option(help="Second level: the box that shall serve the frames.")] = "box",
    name: Annotated[
        str | None, typer.Option("--camera", help="Third level: this camera's name; cam1 if left out.")
    ] = None,
    topic: Annotated[str | None, typer.Option(help="The whole topic instead, e.g. garden/door/frame.")] = None,
    cameras: Annotated[int, typer.Option(min=1, max=64, help="How many at once: NAME1, NAME2, …")] = 1,
    fps: Annotated[float, typer.Option(min=0.01, max=1000, help="Frames per second of each camera.")] = FPS,
    loop: Annotated[bool, typer.Option("--loop/--no-loop", help="Begin again at the end of the pictures.")] = True,
    qos: Annotated[int, typer.Option(min=0, max=2, help="MQTT quality of service of the frames.")] = 0,
    count: Annotated[int | None, typer.Option(min=1, help="Stop after so many frames of each camera.")] = None,
    duration: Annotated[float | None, typer.Option(min=0.1, help="Stop after so many seconds.")] = None,
    truth: Annotated[
        bool, typer.Option("--truth/--no-truth", help="Where it is known, publish it on NAME/truth, for reports alone.")
    ] = True,
    option: Annotated[
        list[str] | None, typer.Option("--option", "-o", metavar="KEY=VALUE", help="For a generator, e.g. seed=7.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of a generator: the same seed draws the same pictures.")] = 7,
    username: Annotated[
        str | None, typer.Option(envvar="LEEWAY_MQTT_USERNAME", help="For brokers that want one.")
    ] = None,
    password: Annotated[str | None, typer.Option(envvar="LEEWAY_MQTT_PASSWORD", help="Goes with it.")] = None,
    as_json: AsJson = False,
) -> None:
    """Publish pictures over MQTT as a camera would: JPEG, numbered, stamped, on time, for ever.

    Waits for the broker, and comes back when it does. A frame that is late is skipped and counted.
    Class folders and generators know what is in their pictures; that goes to a topic of its own.

    [bold]Examples[/bold]

      leeway camera junction --cameras 4            four drawn junctions, cam1 to cam4

      leeway camera shots/ --camera door --fps 10   a folder, again and again

      leeway camera day.mp4 --no-loop               a video, once

      leeway camera rtsp://10.0.0.7/live --fps 5    a network camera

      leeway camera shots.zip --count 99 --json     99 frames, then the counts
    """
    from edge.sources.camera.publisher import publish_all
    from edge.sources.mqtt.connection import Link

    said = {"host": host, "port": port, "prefix": prefix, "node": node, "username": username, "password": password}
    names = _names(name, topic, cameras)
    settings = _settings({**said, "client_id": f"leeway-camera-{node}-{names[0]}-{os.getpid()}"})
    link = Link(settings, say=complain)
    generated = {"seed": seed, **_options(option or ())}
    publishers = [_publisher(link, source, names, number, topic, fps, loop, generated) for number in range(cameras)]
    for one in publishers:
        one.qos, one.count_max, one.truth_topic = qos, count, one.truth_topic if truth else None
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    link.start()
    while not link.wait_connected(WAIT_S) and not stop.is_set():
        pass
    if not as_json and not stop.is_set():
        print(f"publishing {', '.join(one.frame_topic for one in publishers)} at {host}:{port}", file=sys.stderr)
    publish_all(publishers, stop, duration)
    link.stop()
    _tell(publishers, link, as_json)


def _names(name: str | None, topic: str | None, cameras: int) -> list[str]:
    if topic is not None and (name is not None or cameras > 1):
        raise UserError("--topic names one camera's whole topic; leave out --camera and --cameras, or --topic")
    if topic is not None:
        levels = topic.split("/")
        return [levels[-2] if len(levels) > 1 else levels[0]]
    return [f"{name or 'cam'}{k + 1}" for k in range(cameras)] if cameras > 1 or name is None else [name]


def _settings(said: dict[str, Any]) -> "MqttSettings":
    from pydantic import ValidationError

    from edge.sources.mqtt.settings import MqttSettings

    try:
        return MqttSettings(**said)
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"--{'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def _options(pairs: list[str] | tuple[str, ...]) -> dict[str, Any]:
    import yaml

    options = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not (key and equals):
            raise UserError(f"--option {pair}: write it as KEY=VALUE")
        options[key] = yaml.safe_load(value)
    return options


def _publisher(
    link: "Link",
    source: str,
    names: list[str],
    number: int,
    topic: str | None,
    fps: float,
    loop: bool,
    options: dict[str, Any],
) -> "CameraPublisher":
    from edge.sources.camera.frames import opened
    from edge.sources.camera.publisher import CameraPublisher

    topics, name = link.settings.topics, names[number]
    pictures = opened(source, loop=loop, camera=number, cameras=len(names), fps=fps, options=options)
    try:
        frame, truth = topic or topics.frame(name), None if topic else topics.truth(name)
    except ValueError as error:
        raise UserError(f"--camera: {error}") from error
    if topic and ("+" in topic or "#" in topic):
        raise UserError(f"--topic {topic}: + and # are for subscribers; a camera needs one topic")
    offset_s = number / (fps * len(names))
    return CameraPublisher(link, name, pictures, frame, truth, fps, offset_s=offset_s)


def _tell(publishers: "list[CameraPublisher]", link: "Link", as_json: bool) -> None:
    counts = {one.camera: one.counters() for one in publishers}
    columns = ["camera", *(f">{column}" for column in next(iter(counts.values())))]
    shown = table(columns, [(name, *row.values()) for name, row in counts.items()])
    emit({"cameras": counts, "link": link.counters.snapshot()}, shown, as_json)
