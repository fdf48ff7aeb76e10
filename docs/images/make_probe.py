"""Draws docs/images/probe.svg: `python docs/images/make_probe.py` measures the stand-in engine (some three minutes)."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

from tuner.charts import standalone

MODEL = "meta-llama/Llama-3.1-8B-Instruct"
ENGINE = ("--model", MODEL, "--max-num-seqs", "4", "--sim-start-seconds", "0.2")
PROBE = ("--rate", "1,2,3,4", "--duration", "40s", "--slo", "ttft p95 <= 500ms")
SHOWN = ("ttft-load", "itl-load", "ttft-percentiles", "itl-percentiles", "tokens", "in-flight")
TUNER = (sys.executable, "-m", "tuner")


def main() -> None:
    """Measure, and write the picture."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    with subprocess.Popen(
        [*TUNER, "engine-sim", *ENGINE, "--host", "127.0.0.1", "--port", str(port)], stdout=subprocess.DEVNULL
    ) as engine:
        try:
            _wait(url)
            page = _measured(url)
        finally:
            engine.terminate()
    drawn = re.findall(r"<svg .*?</svg>", page, re.DOTALL)
    charts = {name: chart for chart in drawn for name in SHOWN if f'id="{name}-title"' in chart}
    picture = standalone([charts[name] for name in SHOWN], 400, 300, columns=2)
    (Path(__file__).parent / "probe.svg").write_text(picture, encoding="utf-8")


def _wait(url: str) -> None:
    for _ in range(300):
        try:
            if httpx.get(f"{url}/health", trust_env=False).status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.1)
    raise SystemExit(f"{url} does not serve")


def _measured(url: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "probe.html"
        subprocess.run([*TUNER, "probe", url, *PROBE, "--html", str(file)], check=False)  # an SLO may well fail
        return file.read_text(encoding="utf-8")


if __name__ == "__main__":
    main()
