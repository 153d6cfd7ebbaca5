"""The media plane of an rtpengine that a site has: packets never come to this process."""
