"""Does a server speak the Open Inference Protocol? Rules that any server can be held to, over HTTP and gRPC."""
