"""The WebRTC leg to the page. The one place that knows aiortc."""
