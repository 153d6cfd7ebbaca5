"""The accounts of one process, wired from its settings."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from gateway.accounts.account import AccountContext
from gateway.accounts.build_watch import BuildSettings
from gateway.accounts.call_book import CallBook
from gateway.accounts.figures import show_pages
from gateway.accounts.page_config import PageLinkSettings
from gateway.accounts.profiles import profile_folder
from gateway.accounts.recording import recording_rule
from gateway.accounts.registry import AccountRegistry
from gateway.accounts.removals import following_removals
from gateway.accounts.sip_side import endpoint_settings, stack_settings
from gateway.bridge.call import CallLimits
from gateway.bridge.presentation import Presentation
from gateway.browser import AllowList, BrowserSettings, HttpSettings
from gateway.browser.local_helper import LocalHelperSettings
from gateway.codecs.sound import OpusSettings
from gateway.config import Settings
from gateway.domain import termination as t
from gateway.domain.call_tones import CallTones
from gateway.domain.ids import AccountId
from gateway.events.hub import EventHub
from gateway.media.announcement import load_sound
from gateway.media.built_in import ClientSettings, PlaneSettings
from gateway.media.plane import MediaPlane
from gateway.media.rtpengine.plane import RtpenginePlane, RtpengineSettings
from gateway.media.rtpengine.room import Interfaces
from gateway.ops.health import Health
from gateway.ops.metrics import Metrics
from gateway.ops.spans import TellSpans, open_spans
from gateway.sip.figures import mirror_counts
from gateway.sip.stack import SipStack
from gateway.store.store import Store
from gateway.worker.open import open_plane
from gateway.worker.process import LogSettings


@asynccontextmanager
async def open_accounts(
    settings: Settings, store: Store, metrics: Metrics, health: Health, events: EventHub
) -> AsyncIterator[AccountRegistry]:
    """Run the stored accounts inside the block; see `gateway.api.deps.OpenAccounts`."""
    await store.calls.close_open(datetime.now(UTC), t.INTERNAL)
    if settings.recording_sound is not None:
        await asyncio.to_thread(load_sound, settings.recording_sound)  # a file that cannot be read stops the start
    async with (
        _media_plane(settings, metrics, health) as media,
        open_spans(settings.traces) as tell_spans,
        _running(settings, store, metrics, events, media, tell_spans) as registry,
    ):
        yield registry


@asynccontextmanager
async def _media_plane(settings: Settings, metrics: Metrics, health: Health) -> AsyncIterator[MediaPlane]:
    """Have the media plane that is set inside the block. An rtpengine that is not there yet may come later."""
    if settings.media == "rtpengine":
        plane = RtpenginePlane(rtpengine_settings(settings))
        health.register("media", plane.check)
        async with plane.running():
            yield plane
        return
    logs = LogSettings(settings.log_level, settings.log_drop_pii)
    async with open_plane(
        plane_settings(settings), workers=settings.media_workers, metrics=metrics, health=health, logs=logs
    ) as workers:
        yield workers


def rtpengine_settings(settings: Settings) -> RtpengineSettings:
    """Return how the rtpengine is used that is set."""
    host, port = settings.rtpengine_address
    return RtpengineSettings(
        host,
        port,
        interfaces=Interfaces(*settings.rtpengine_interfaces),
        key_log=settings.rtpengine_keys_address,
        codecs=settings.codecs,
        offer_srtp=settings.srtp == "offer",
        connect_timeout_s=settings.webrtc_connect_timeout_s,
    )


def plane_settings(settings: Settings) -> PlaneSettings:
    """Return how the built-in media plane is made."""
    return PlaneSettings(
        port_range=(settings.rtp_port_min, settings.rtp_port_max),
        offer_srtp=settings.srtp == "offer",
        codecs=settings.codecs,
        clients=ClientSettings(
            addresses=settings.webrtc_addresses,
            public_address=settings.public_address,
            connect_timeout_s=settings.webrtc_connect_timeout_s,
        ),
        opus=OpusSettings(complexity=settings.opus_complexity),
    )


@asynccontextmanager
async def _running(
    settings: Settings, store: Store, metrics: Metrics, events: EventHub, media: MediaPlane, tell_spans: TellSpans
) -> AsyncIterator[AccountRegistry]:
    """Run the stored accounts on a media plane."""
    sip = SipStack(stack_settings(settings))
    mirror_counts(metrics, sip.agent)
    await sip.start()
    try:
        presentation = Presentation(settings.number_policy, settings.caller_identity, settings.blf_numbers)
        context = AccountContext(
            sip=sip,
            media=media,
            events=events,
            book=CallBook(store.journal, metrics, events, tell_spans),
            page=page_link_settings(settings, metrics),
            builds=store.builds,
            recording=lambda account: recording_rule(settings, account),
            limits=CallLimits(ring_timeout_s=settings.ring_timeout_s, phone_silence_s=settings.phone_silence_s),
            tones=CallTones(
                settings.tone_ringing, settings.tone_busy, settings.tone_congestion, settings.tone_failure_s
            ),
            presentation=lambda _: presentation,
            endpoint_settings=lambda config: endpoint_settings(config, settings),
        )
        async with AccountRegistry(context) as registry:
            show_pages(metrics, registry.pages)
            await registry.restore(await store.configs.load_all())
            async with following_removals(store, registry, lambda one: profile_folder(settings.state_dir, one)):
                yield registry
    finally:
        await sip.close()


def page_link_settings(settings: Settings, metrics: Metrics) -> PageLinkSettings:
    """Return what of the process's settings concerns pages; *metrics* has Chrome's answer times."""
    http = HttpSettings(
        allow=AllowList.parse(settings.allow_hosts),
        connect_timeout_s=settings.connect_timeout_s,
        timeout_s=settings.http_timeout_s,
        ca_file=str(settings.ca_file) if settings.ca_file else None,
    )
    return PageLinkSettings(
        browser=BrowserSettings(
            http=http,
            backoff_max_s=settings.reconnect_max_s,
            on_answer=lambda method, seconds: metrics.cdp_command_seconds.labels(method).observe(seconds),
        ),
        page_url=settings.page_url,
        page_script=settings.page_script,
        local_helper=lambda account_id: local_helper_settings(settings, account_id),
        wasm_host=settings.wasm_host,
        helper_token=settings.helper_token.get_secret_value() if settings.helper_token else None,
        local_helper_url=settings.local_helper_url,
        webrtc_timeout_s=settings.webrtc_connect_timeout_s,
        retry_max_s=settings.reconnect_max_s,
        builds=BuildSettings(check_s=settings.build_check_s),
        force_gates=lambda account_id: account_id in settings.force_calling_gates,
    )


def local_helper_settings(settings: Settings, account_id: AccountId) -> LocalHelperSettings:
    """Return how a node helper is started for an account: with a Chrome profile that is the account's own."""
    return LocalHelperSettings(
        profile=profile_folder(settings.state_dir, account_id),
        chrome=str(settings.local_chrome) if settings.local_chrome else None,
        flags=shlex.split(settings.local_chrome_flags),
    )
