"""The place of the vendor's inference service, which has no public interface: load an inference PEF with
`samba.utils.trace_graph` and call `samba.session.run(inputs, section_types=['fwd'])` from a server of your own."""
