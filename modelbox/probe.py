"""Asks a service whether it takes requests: exit status 0 for yes. For container engines without a client."""

from __future__ import annotations

import sys
import urllib.request


def main() -> None:
    """`python -m modelbox.probe http://127.0.0.1:8080`."""
    try:
        with urllib.request.urlopen(f"{sys.argv[1]}/health", timeout=5) as answer:
            status = answer.status
    except OSError:
        status = 0
    raise SystemExit(0 if status == 200 else 1)


if __name__ == "__main__":
    main()
