"""Server-sent events out of bytes as they come. No I/O.

https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
"""

from dataclasses import dataclass, field


@dataclass
class EventReader:
    """Reads one stream. `last_id` is the place reached, `retry` how many seconds the server wants to be left alone for afterwards."""

    last_id: str = ""
    retry: float | None = None
    _rest: bytes = b""
    _data: list[str] = field(default_factory=list)
    _id: str | None = None

    def read(self, chunk: bytes) -> list[str]:
        """The data of the events that these bytes complete. What is not complete when a stream breaks off is dropped."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        return [data for line in lines if (data := self._line(line.removesuffix(b"\r").decode(errors="replace"))) is not None]

    def _line(self, line: str) -> str | None:
        if not line:
            return self._complete()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "data":
                self._data.append(value)
            case "id":
                self._id = value
            case "retry" if value.isascii() and value.isdigit():
                self.retry = int(value[:9]) / 1000
            case _:
                pass  # a comment, an event's name, or a field of a newer server
        return None

    def _complete(self) -> str | None:
        self.last_id = self.last_id if self._id is None else self._id
        data, self._data, self._id = self._data, [], None
        return "\n".join(data) if data else None
