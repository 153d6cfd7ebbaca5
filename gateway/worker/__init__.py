"""The media plane in processes of its own, so that API, CDP and database never delay a packet.

`open_plane` gives call control a `MediaPlane`. Behind it stand one or more workers, each a process (``python -m
gateway.worker``) with the built-in packet router and the WebRTC legs of the pages that are given to it. They are
reached over a socketpair: length-framed messages, of plain frozen dataclasses only (`gateway.worker.wire`).

A new verb of the plane is a line in `gateway.worker.work.MediaWork.verbs` and a method of `gateway.worker.plane`; a new
type that it carries, a line in `gateway.worker.wire.TYPES`.
"""
