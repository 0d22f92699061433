"""A box as a container image: an OCI layout written here, or a folder that a container engine builds one from."""
