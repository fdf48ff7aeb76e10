"""The real engine: its virtual environment and the models it serves, both outside the repository."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.support.cluster import ROOT

HERE = ROOT / "tests" / "e2e" / "vllm"


@dataclass(frozen=True)
class RealEngine:
    """vLLM on CPU. `files` is mounted into pods: it holds the environment and the models."""

    venv: Path
    python: Path  # the folder of the Python that the environment was made with

    @property
    def files(self) -> Path:
        """The folder that holds environment and models."""
        return self.venv.parent

    def model(self, size: str) -> Path:
        """The folder of a model, "tiny" or "small"; made where it is not there yet."""
        maker = HERE / "make_model.py"
        folder = self.files / "models" / size
        if not (folder / "config.json").exists() or folder.stat().st_mtime < maker.stat().st_mtime:
            subprocess.run([self.venv / "bin" / "python", maker, folder, "--size", size], check=True, timeout=120)
        return folder

    def variables(self, image: str, size: str = "small") -> dict[str, str]:
        """What manifests/examples/vllm-cpu.yaml leaves open."""
        return {
            "IMAGE": image,
            "VLLM": str(self.venv / "bin" / "vllm"),
            "MODEL": str(self.model(size)),
            "FILES": str(self.files),
            "PYTHON": str(self.python),
        }


def install() -> RealEngine:
    """The real engine, installed where it is not yet (minutes, 5 GB)."""
    uv = Path(sys.executable).parent / "uv"
    environment = {**os.environ, **({"UV": str(uv)} if uv.exists() else {})}
    done = subprocess.run(
        [HERE / "install"], env=environment, capture_output=True, text=True, timeout=1800, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    venv = Path(done.stdout.strip().splitlines()[-1])
    prefix = subprocess.run(
        [venv / "bin" / "python", "-c", "import sys; print(sys.base_prefix)"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout.strip()
    # A Python of the system itself is in the image too (its base is the same Debian); /usr can't be mounted over.
    return RealEngine(venv, Path("/opt/none") if prefix == "/usr" else Path(prefix))
