"""Units for stages, buffers in PMUs, streams to and from memory."""
