"""The load of the media benches: calls of a WebRTC peer with a plain RTP peer, the same for every candidate."""
