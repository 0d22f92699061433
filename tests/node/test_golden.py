"""The lines of sntilestat and of snconfig's static tree are those of public samples, byte for byte."""

from __future__ import annotations

import re

from runtime.node.hardware import load_node
from runtime.node.tools.snconfig import banner, dynamic_lines, static_lines
from runtime.node.tools.sntilestat import Row, header, line

HEADER = "TILE                 %idle %exec %pload %aload %chkpt %quiesce    PID     USER COMMAND"
IDLE = "/XRDU_0/RDU_0/TILE_0 100.0   0.0    0.0    0.0    0.0      0.0"
BUSY = "/XRDU_0/RDU_0/TILE_0   8.0  91.6    0.3    0.1    0.0      0.0 2750333  someone /opt/apps/nlp/train/venv/bin/py"
FIVE_DIGITS = "/XRDU_0/RDU_0/TILE_3  80.1   6.3   11.7    1.9    0.0      0.0  49880  student python res_ffn.py run"
SN30_BEGIN = """\
======================================================
=======                NODE Info               =======
======================================================
=======                Static Info             =======
Timestamp: 2023-03-16 17:00:04
Platform Name: DataScale SN30-8
Node Name: NODE
    Number of XRDUS: 4
    XRDU Name: XRDU_0
        Number of RDUS: 2
        RDU name: RDU_0
            Serial Number     : ################
            Number of TILES: 8
            TILE Name: TILE_0
                Serial Number     : N/A
            TILE Name: TILE_1
                Serial Number     : N/A
"""
SN30_END = """\
                    Size              : 128.0 GB
                    Serial Number     : #######
            DDR CH Name: DDRCH_6
                Number of DIMMS: 1
                DIMM Name: DIMM_L0
                    Size              : 128.0 GB
                    Serial Number     : #######
            DDR CH Name: DDRCH_7
                Number of DIMMS: 1
                DIMM Name: DIMM_M0
                    Size              : 128.0 GB
                    Serial Number     : #######
        Total XRDU_3 memory size (GB): 2048.0
"""
SN10_WORDS = """\
Platform Name: DataScale SN10-8
Number of TILES: 4
Number of PCIES: 4
PCIE Name: PCIE_0
Bandwidth : 32 GB/s
Speed : 16 GT/s
Width : 16
Serial Number : N/A
Number of DDRCHs: 6
DDR CH Name: DDRCH_0
Number of DIMMS: 2
DIMM Name: DIMM_C0
Size : 64.0 GB
DIMM Name: DIMM_C1
Size : 0.0 GB
Serial Number : N/A
"""


def static(name: str) -> str:
    """The static tree with serial numbers, which are each machine's own, struck out."""
    lines = [*banner("NODE Info"), *static_lines(load_node(name), "2023-03-16 17:00:04")]
    text = "\n".join(lines) + "\n"
    return re.sub(r"(?<=: )([0-9A-F]{16}|[0-9A-F]{7})$", lambda found: "#" * len(found[0]), text, flags=re.MULTILINE)


def test_sntilestat() -> None:
    assert header() == HEADER
    assert line(Row("/XRDU_0/RDU_0/TILE_0", (100.0, 0, 0, 0, 0, 0)), None) == IDLE
    command = "/opt/apps/nlp/train/venv/bin/pyhon run_model.py run"
    row = Row("/XRDU_0/RDU_0/TILE_0", (8.0, 91.6, 0.3, 0.1, 0.0, 0.0), 2750333, "someone", command)
    assert line(row, len(BUSY)) == BUSY
    row = Row("/XRDU_0/RDU_0/TILE_3", (80.1, 6.3, 11.7, 1.9, 0.0, 0.0), 49880, "student", "python res_ffn.py run")
    assert line(row, None) == FIVE_DIGITS


def test_a_tile_out_of_service_keeps_the_columns() -> None:
    text = line(Row("/XRDU_0/RDU_0/TILE_0", ()), None)
    assert len(text) == len(IDLE) and text.split()[1:] == ["N/A"] * 6


def test_snconfig_of_an_sn30() -> None:
    text = static("sn30-8")
    assert text.startswith(SN30_BEGIN)
    assert text.endswith(SN30_END)
    assert text.count("TILE Name") == 64 and text.count("DIMM Name") == 64 and text.count("PCIE Name") == 32


def test_snconfig_of_an_sn10() -> None:
    """The sample has lost its indentation and runs of blanks, and leaves lines out."""
    lines = iter([" ".join(text.split()) for text in static("sn10-8").splitlines()])
    for wanted in SN10_WORDS.splitlines():
        assert wanted in lines, f"{wanted!r} is missing, or comes too early"


def test_hung_tiles_are_those_that_are_not_perfect() -> None:
    states = {
        "/XRDU_0/RDU_0": "degraded",
        "/XRDU_0/RDU_0/TILE_0": "perfect",
        "/XRDU_0/RDU_0/TILE_1": "FTYPE_TILE_EXCLUDED",
    }
    lines = list(dynamic_lines("DataScale SN30-8", "now", states))
    assert [text.split()[0] for text in lines if "perfect" in text] == ["/XRDU_0/RDU_0/TILE_0"]
