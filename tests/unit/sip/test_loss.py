"""Calls over a network that loses and reorders: nothing hangs, nothing is told twice."""

from __future__ import annotations

import pytest

from gateway.protocol.sip.agent import CoreEndpoint
from gateway.protocol.sip.engine import NewCall
from gateway.protocol.sip.events import Answered, Ended
from gateway.protocol.sip.flow import Flow
from gateway.protocol.sip.uac import InviteSpec
from gateway.protocol.sip.uas import ServerSession
from tests.support.sip_lab import ANSWER, OFFER, OURS, PBX, Network, credentials, lab, protected, trusted

pytestmark = pytest.mark.unit


# A challenge is sent without state, so that nobody can fill our tables or have us repeat answers to a forged source.
# The price: INVITE and 401 must both get through in one of the caller's seven tries.
@pytest.mark.parametrize(("endpoint", "loss"), [(trusted(), 0.3), (protected(), 0.15)])
@pytest.mark.parametrize("seed", range(6))
def test_calls_complete(endpoint: CoreEndpoint, loss: float, seed: int) -> None:
    caller, callee = lab(prefix="a"), lab(prefix="b")
    callee.agent.set_endpoint(endpoint)
    net = Network(caller, callee, loss=loss, seed=seed)
    flow = Flow("udp", 1, PBX, OURS)
    spec = InviteSpec("sip:5511999990000@192.0.2.10:5080", "<sip:1000@192.0.2.20>", OFFER)
    auth = credentials("pbx", "geheim")
    sessions = [caller.agent.invite(spec, flow, auth, net.clock) for _ in range(10)]
    arrived: list[ServerSession] = []
    for _ in range(70):
        net.run(1)
        for output in callee.told:
            if isinstance(output, NewCall):
                arrived.append(output.session)
                output.session.answer(ANSWER, net.clock)
        callee.told = [output for output in callee.told if not isinstance(output, NewCall)]
    assert len(arrived) == len(sessions), f"seed {seed}"
    assert caller.events().count(Answered(ANSWER)) == len(sessions), f"seed {seed}"
    assert len(callee.acked()) == len(sessions), f"seed {seed}"
    for session in sessions[:5]:
        session.bye(None, net.clock)
    for other in arrived:
        if other.call_id not in {session.call_id for session in sessions[:5]}:
            other.bye(None, net.clock)
    net.run(140)
    assert caller.events() == [Ended()] * len(sessions), f"seed {seed}"
    assert [event for event in callee.events() if isinstance(event, Ended)] == [Ended()] * len(sessions), f"seed {seed}"
    for lab_ in (caller, callee):
        # nothing is left behind
        assert lab_.agent.next_timeout() is None, f"seed {seed}"
        assert not lab_.agent._engine.layer.servers
        assert not lab_.agent._engine.layer.clients
        assert not lab_.agent._engine.layer._merged
        assert not lab_.agent._engine.dialogs
        assert not lab_.agent._engine.sessions
