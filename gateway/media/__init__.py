"""The media plane: RTP ports, the packet router, statistics."""
