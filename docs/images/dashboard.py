"""Takes the pictures of docs/dashboard.md: `python docs/images/dashboard.py`, with Chromium on the path."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

HERE = Path(__file__).parent
#: By name: the page, the size of the window, and how far down it is.
SHOTS = {
    "studies": ("/", 1200, 320, 0),
    "study": ("/studies/1", 1200, 1500, 0),
    "knobs": ("/studies/1", 1200, 1300, 1900),
    "trial": ("/studies/1/trials/3", 1200, 1500, 0),
    "compare": ("/studies/1/compare?a=0&b=3", 1200, 900, 0),
    "plan": ("/plan?gpu=H100&model=Llama-3.1-8B&gpu_count=1&objective=capacity&set=max_num_seqs%3D64", 1200, 1000, 0),
    "phone": ("/studies/1", 360, 800, 0),
}


def main() -> None:
    """Serve the recorded study, and take all of them."""
    command = [sys.executable, "-m", "tuner", "dashboard", "--demo", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        found = re.search(r"http://\S+(?=/)", process.stdout.readline())
        assert found is not None
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            for name, (path, width, height, down) in SHOTS.items():
                page = browser.new_page(viewport={"width": width, "height": height}, timezone_id="UTC", locale="en-GB")
                page.goto(found[0] + path, wait_until="networkidle")
                page.evaluate(f"scrollTo(0, {down})")
                page.wait_for_timeout(300)
                page.screenshot(path=HERE / f"dashboard-{name}.png")
                page.close()
            browser.close()
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main()
