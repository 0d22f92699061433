"""The administrators' commands: snconfig, sntilestat, snfadm, and snfault, which is ours."""
