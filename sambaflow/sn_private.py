"""The name under which some programs import `sambaflow.samba.sn_private`."""

from sambaflow.samba.sn_private import sn_gather, sn_multinomial, sn_scatter

__all__ = ["sn_gather", "sn_multinomial", "sn_scatter"]
