"""uvicorn's websocket, made to end with the server whatever the client does at that moment."""

from __future__ import annotations

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """A websocket of the server. uvicorn 0.54 raises out of the whole server's end where a client is just closing."""

    def shutdown(self) -> None:
        """Tell the client that the server ends, and close."""
        try:
            super().shutdown()
        except InvalidState:  # the client's Close came before ours, and its answer is still on the way
            self.transport.close()
