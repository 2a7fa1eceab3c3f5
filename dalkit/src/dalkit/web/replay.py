"""A request body that can be read twice."""

from starlette.types import Message, Receive

#: Bytes of a body that are kept in order to send them again.
LIMIT = 1024 * 1024


class ReplayableBody:
    """Hands out the messages of `receive` and remembers those of the body."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._seen: list[Message] = []
        self._size = 0
        self._position = 0
        self.is_complete = True  # False once the body was too large to keep

    async def receive(self) -> Message:
        """The next message: a remembered one after `rewind`, else the next from the server."""
        if self._position < len(self._seen):
            message = self._seen[self._position]
        else:
            message = await self._receive()
            self._remember(message)
        self._position += 1
        return message

    def rewind(self) -> None:
        """Start over with the first message."""
        self._position = 0

    def _remember(self, message: Message) -> None:
        if message["type"] != "http.request" or not self.is_complete:
            return
        self._size += len(message.get("body", b""))
        if self._size <= LIMIT:
            self._seen.append(message)
        else:
            self.is_complete = False
            self._seen.clear()
