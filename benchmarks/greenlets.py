"""A crowd on S3, of greenlets and of threads: python benchmarks/greenlets.py [ROUNDS]

200 callers at once save 1 MiB each, ask whether it is there and read it back, from
SeaweedFS on the same machine. Meanwhile a ticker of 10 ms notes how late it is.
"""

from __future__ import annotations

import json
import os
import pathlib
import statistics
import subprocess
import sys
import typing as t

ROOT = pathlib.Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tests.support import servers  # noqa: E402
from tests.support.background_servers import s3_settings  # noqa: E402

CALLERS = 200
MODES = {"first": "greenlets", "unpatched": "threads"}


def crowd(mode: str, server: servers.S3Server) -> dict[str, t.Any]:
    """What one process with a crowd finds; it writes into a bucket of its own."""
    url = f"http://localhost:{server.port}"
    settings = s3_settings(url, server, server.make_bucket())
    # A server that has 200 uploads at once on a slow machine is slow, not gone.
    settings["STORE_S3_OPTIONS"] = {"config_kwargs": {"read_timeout": 60}}
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.gevent_cases", mode, "crowd"],
        cwd=ROOT,
        env={
            **os.environ,
            "SETTINGS": json.dumps(settings),
            "CROWD": str(CALLERS),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, t.Any] = json.loads(done.stdout.splitlines()[-1])["found"]
    return found


def main() -> None:
    """Print a line for each run, and how the medians compare."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    rates: dict[str, list[float]] = {mode: [] for mode in MODES}
    with servers.seaweedfs() as server:
        for _ in range(rounds):
            for mode, means in MODES.items():
                found = crowd(mode, server)
                rate = 2 * CALLERS * 1.048576 / found["seconds"]
                rates[mode].append(rate)
                print(
                    f"{means}: {found['good']} of {CALLERS} identical,"
                    f" {rate:.0f} MB/s up and down; the ticker was late by"
                    f" {found['p99_ms']} ms (p99), {found['max_ms']} ms at most",
                    flush=True,
                )
    greenlets, threads = (statistics.median(rates[mode]) for mode in MODES)
    print(f"greenlets / threads: {greenlets / threads:.2f}")


if __name__ == "__main__":
    main()
