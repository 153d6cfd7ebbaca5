"""Client of the node helper that runs beside Chrome (docs/ARCHITECTURE.md section 8.7)."""

from __future__ import annotations

import re
from typing import Any

from gateway.browser.endpoint import HttpEndpoint
from gateway.browser.errors import ChromeUnreachable, HelperError
from gateway.browser.http import Answer, request
from gateway.browser.settings import HttpSettings
from gateway.domain.errors import PeerTimeout


class HelperClient:
    """One node helper.

    Args:
        endpoint: where it is, with its token.
        settings: time-outs and the allow-list.
    """

    def __init__(self, endpoint: HttpEndpoint, *, settings: HttpSettings | None = None) -> None:
        self._endpoint = endpoint
        self._settings = settings or HttpSettings()

    async def health(self) -> dict[str, Any]:
        """Return `/healthz`: ``status``, ``chrome`` and ``detail``; a degraded helper answers too.

        Raises:
            HelperError: it does not answer, or refuses the token.
        """
        return self._content(await self._ask("GET", "/healthz"), 200, 503)

    async def browser(self) -> dict[str, Any]:
        """Return what the helper knows of its Chrome.

        Raises:
            HelperError: it does not answer, or refuses the token.
        """
        return self._content(await self._ask("GET", "/v1/browser"), 200)

    async def restart(self) -> None:
        """Have Chrome restarted; returns as soon as the helper has taken the order.

        Raises:
            HelperError: it does not answer, or refuses the token.
        """
        self._content(await self._ask("POST", "/v1/browser/restart"), 202)

    async def webrtc(self, target_id: str, offer_sdp: str, *, timeout_s: float = 15) -> str:
        """Hand an offer to a page and return the page's answer.

        Args:
            target_id: CDP target id of the page.
            offer_sdp: complete offer.
            timeout_s: for the whole exchange.

        Raises:
            HelperError: no such target, not injected, or the helper does not answer; `status` tells which.
            PeerTimeout: the page did not answer in time.
        """
        if not re.fullmatch(r"[0-9A-Za-z-]{1,64}", target_id):
            raise HelperError("The target id is not one of Chrome's", 404)
        path = f"/v1/targets/{target_id}/webrtc"
        answer = await self._ask("POST", path, {"sdp": offer_sdp, "type": "offer"}, timeout_s=timeout_s)
        if answer.status == 504:
            raise PeerTimeout("The page did not answer the offer that the node helper gave it in time")
        content = self._content(answer, 200)
        sdp = content.get("sdp")
        if not isinstance(sdp, str) or content.get("type") != "answer":
            raise HelperError("The node helper answered an offer with something else than an answer", answer.status)
        return sdp

    async def _ask(
        self, method: str, path: str, body: dict[str, object] | None = None, *, timeout_s: float | None = None
    ) -> Answer:
        try:
            answer = await request(
                self._endpoint, method, path, settings=self._settings, body=body, timeout_s=timeout_s
            )
        except ChromeUnreachable as error:
            raise HelperError(f"The node helper cannot be asked: {error}") from None
        if answer.status in {401, 403}:
            needs = "another token" if self._endpoint.token else "a token"
            raise HelperError(
                f"The node helper at {self._endpoint} wants {needs}; give it as http://:TOKEN@{self._endpoint.netloc} "
                "or in PONTE_HELPER_TOKEN",
                answer.status,
            )
        return answer

    def _content(self, answer: Answer, *wanted: int) -> dict[str, Any]:
        content = answer.json()
        if answer.status in wanted and isinstance(content, dict):
            return content
        words = content.get("detail") if isinstance(content, dict) else None
        if not isinstance(words, str):
            words = f"check {self._endpoint.setting}: it may be another service"
        raise HelperError(f"The node helper at {self._endpoint} answered HTTP {answer.status}: {words}", answer.status)
