"""Builds and parses topic names (`<prefix>/<node>/...`); no other file does."""

from dataclasses import dataclass

FORBIDDEN = frozenset("/+#\0")


def valid_level(name: str) -> str:
    """Returns `name` when it may be one level of a topic; raises `ValueError` that names what is wrong with it."""
    if not name:
        raise ValueError("an empty name cannot be part of a topic")
    if bad := sorted(FORBIDDEN.intersection(name)):
        raise ValueError(f"{name!r} cannot be part of a topic: it contains {' '.join(map(repr, bad))}")
    return name


@dataclass(frozen=True, slots=True)
class Topics:
    """Names the topics of one box. `prefix` may have several levels (`home/leeway`), `node` is one level."""

    prefix: str = "leeway"
    node: str = "box"

    @property
    def base(self) -> str:
        """Returns `<prefix>/<node>`."""
        return f"{self.prefix}/{self.node}"

    def under(self, suffix: str) -> str:
        """Returns the topic for a suffix below `base`."""
        return f"{self.base}/{suffix}"

    @property
    def available(self) -> str:
        return self.under("available")

    @property
    def stats(self) -> str:
        return self.under("stats")

    @property
    def events(self) -> str:
        return self.under("events")

    @property
    def label_request(self) -> str:
        return self.under("label/request")

    @property
    def label_answer(self) -> str:
        return self.under("label/answer")

    @property
    def all_frames(self) -> str:
        """Returns the daemon's filter: frames of every camera and nothing else (ground truth
        travels on its own topic).
        """
        return self.under("+/frame")

    def frame(self, camera: str) -> str:
        return self.under(f"{valid_level(camera)}/frame")

    def truth(self, camera: str) -> str:
        return self.under(f"{valid_level(camera)}/truth")

    def result(self, camera: str, app: str) -> str:
        return self.under(f"{valid_level(camera)}/{valid_level(app)}/result")

    def drift(self, model: str) -> str:
        return self.under(f"{valid_level(model)}/drift")

    def camera_of(self, topic: str) -> str | None:
        """Returns the camera whose frame topic this is; None for every other topic."""
        head, tail = f"{self.base}/", "/frame"
        if not (topic.startswith(head) and topic.endswith(tail)):
            return None
        camera = topic[len(head) : -len(tail)]
        return None if not camera or FORBIDDEN.intersection(camera) else camera
