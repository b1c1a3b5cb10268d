"""Uses the interactive notebooks in a real browser, as a person would: `make e2e`.

Starts JupyterLab, then Voilà, on loopback, opens each interactive notebook in chromium, runs it, moves sliders, presses
buttons, uploads photos, and says for every step whether the picture changed as it should and how long that took. Leaves
screenshots. It installs nothing; what is missing is said::

    python scripts/browser_check.py --shots shots
    python scripts/browser_check.py --docs docs      # only the README's pictures
"""

import argparse
import importlib.util
import io
import os
import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image

from efgan.editing.reference import GALLERY, REFERENCE

ROOT = Path(__file__).resolve().parents[1]
FIRST_PICTURE_MS = 10_000  # from Run All to the first picture
UPDATE_MS = 300  # one update at 128 px, from the key to the picture that stands
AU12 = ".widget-slider:has-text('AU12')"
AU_SLIDER = ".efgan .widget-slider"


def missing() -> list[str]:
    """What has to be there first, each with its remedy."""
    extra = "the extra e2e: .venv/bin/pip install -c constraints.txt -e '.[e2e]'"
    lacks = [f"{name}: {extra}" for name in ("playwright", "voila") if importlib.util.find_spec(name) is None]
    if not chromium():
        lacks.append("chromium: apt-get install chromium, or its path in CHROMIUM")
    if not (REFERENCE / GALLERY).exists():
        lacks.append("results/reference: `git checkout` it, or python scripts/ship_reference.py")
    return lacks


def chromium() -> str | None:
    """The browser's program."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return os.environ.get("CHROMIUM") or next((path for path in map(shutil.which, names) if path), None)


def photo() -> bytes:
    """A real photograph of a face that every user has (public domain), as PNG."""
    from skimage.data import astronaut

    file = io.BytesIO()
    Image.fromarray(astronaut()).save(file, "PNG")
    return file.getvalue()


def check_editor(page, shots: Path, *, first_limit: float | None, update_limit: float) -> None:
    """Everything that the editor's panel offers."""
    tab = page.page
    page.picture.wait_for(timeout=60_000)
    tab.wait_for_function("document.querySelectorAll('.efgan-picture img')[1]?.naturalWidth > 0", timeout=60_000)
    first = tab.evaluate("clock.pictures[0] - clock.acts.filter(t => t < clock.pictures[0]).at(-1)")
    page.check(True, "first picture after Run All", first, first_limit)
    untouched = page.digest()
    changed, middle = page.keys(AU12, 10)
    page.check(changed == 10, f"AU12 by keys: {changed} of 10 steps changed it, median", middle, update_limit)
    shown, rest = page.drag(AU12)
    page.check(shown >= 4, f"AU12 dragged for 1 s: {shown} pictures; the last one after", rest, 2 * update_limit)
    with page.changes("expression surprised"):
        page.press("surprised")
    with page.changes("its intensity to the right end"):
        tab.locator(".widget-slider:has-text('intensity') .noUi-handle").focus()
        tab.keyboard.press("End")
    with page.changes("expression happily surprised (compound)"):
        page.press("happily surprised")
    page.press("relative to the face")
    tab.locator(f"{AU12} .noUi-handle[aria-valuemin^='-5']").wait_for(timeout=10_000)
    page.check(True, "sliders relative to the face")
    with page.changes("stage 1 alone"):
        page.press("1")
    with page.changes("all stages again"):
        page.press("3")
    with page.changes("without local branches"):
        tab.get_by_label("local branches").click()
    tab.get_by_label("local branches").click()
    with page.changes("attention over the picture"):
        tab.get_by_label("show attention").click()
    page.shoot(shots.with_name(f"{shots.name}_attention.png"))
    tab.get_by_label("show attention").click()
    with page.changes("random"):
        page.press("random")
    page.press("absolute")
    with page.changes("reset"):
        page.press("reset")
    page.becomes(untouched, "that is the first picture again, byte by byte")
    with page.changes("another face by its thumbnail"):
        tab.locator(".efgan-faces button").nth(3).click()
    page.press("copy its expression")
    with page.changes("its expression from another face"):
        tab.locator(".efgan-faces button").nth(5).click()
    page.press("edit it")
    page.press("happy")
    tab.wait_for_timeout(400)
    hold(page)
    with page.changes("wipe to the middle"):
        box = tab.locator(".efgan-wipe .noUi-base").bounding_box()
        tab.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    tab.locator(".efgan-wipe .noUi-handle").focus()
    tab.keyboard.press("Home")
    page.press("compare all methods")
    tab.locator(".efgan-strip").nth(1).locator("img").nth(1).wait_for(timeout=30_000)
    count = tab.locator(".efgan-strip").nth(1).locator("img").count()
    page.check(count >= 2, f"{count - 1} methods side by side")
    page.shoot(shots.with_name(f"{shots.name}_methods.png"))
    page.press("compare all methods")
    save(page)
    upload(page, shots)


def hold(page) -> None:
    """The original shows while the mouse is held on the picture."""
    opacity = "getComputedStyle(document.querySelectorAll('.efgan-picture img')[1]).opacity"
    box = page.page.locator(".efgan-picture").bounding_box()
    page.page.mouse.move(box["x"] + 50, box["y"] + 50)
    page.page.mouse.down()
    held = page.page.evaluate(opacity)
    page.page.mouse.up()
    page.check((held, page.page.evaluate(opacity)) == ("0", "1"), "original while held")


def save(page) -> None:
    """Picture, animation, and the words that repeat the edit."""
    for button, words in (("picture", ".png"), ("animation", ".gif"), ("video", ".mp4"),
                          ("command & code", "editor.edit(")):  # fmt: skip
        page.press(button)
        saved = page.page.locator(".efgan-saved", has_text=words)
        saved.wait_for(timeout=30_000)
        page.check(saved.count() == 1, f"save: {button}")


def upload(page, shots: Path) -> None:
    """A photo becomes the source; a broken file is told of and harms nothing."""
    tab = page.page
    with page.changes("a photo uploaded", seconds=60):
        page.upload("astronaut.png", photo())
    with page.changes("and edited"):
        page.press("happy")
    page.shoot(shots.with_name(f"{shots.name}_photo.png"))
    page.upload("broken.png", b"no picture")
    message = tab.locator(".efgan-message")
    message.wait_for(timeout=10_000)
    page.check("broken" in message.inner_text(), f"a broken upload: {message.inner_text()[:60]}")
    with page.changes("and the panel goes on"):
        page.press("sad")


def check_attention(page, shots: Path, *, update_limit: float) -> None:
    """Maps follow the slider; pointing at a picture reads every map."""
    tab = page.page
    maps = tab.locator(".efgan-maps")
    maps.wait_for(timeout=60_000)
    page.wait_idle()
    drawn = tab.locator(".efgan-maps figure[data-mean]")  # captions tell of the pixel where the mouse is
    means = [float(figure.get_attribute("data-mean").removeprefix("mean ")) for figure in drawn.all()]
    page.picture = drawn.nth(means.index(max(means))).locator("img")  # those of an idle stage stay black
    changed, middle = page.keys(AU_SLIDER, 5)
    # One step is a tenth of an intensity: not each moves an 8-bit map.
    page.check(changed >= 3, f"the Action Unit by keys: {changed} of 5 steps changed the map, median", middle,
               2 * update_limit)  # fmt: skip
    with page.changes("another face by its thumbnail"):
        tab.locator(".efgan-faces button").nth(2).click()
    with page.changes("another expression"):
        tab.locator(".efgan select").nth(1).select_option("surprised")
    box = page.picture.bounding_box()
    tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    read = tab.locator(".efgan-maps figcaption b").all_inner_texts()
    page.check(len(read) >= 3, f"pointing reads every map: {', '.join(read[:4])} …")
    page.shoot(shots)


def run(shots: Path, *, voila: bool, slack: float, docs: Path | None) -> list[str]:
    """All notebooks; returns what failed. With `docs`, only the README's pictures are made there."""
    from browser_pages import NotebookPage, Server, copy_notebook
    from playwright.sync_api import sync_playwright

    failures: list[str] = []
    limits = {"first_limit": slack * FIRST_PICTURE_MS, "update_limit": slack * UPDATE_MS}
    with tempfile.TemporaryDirectory(prefix="efgan-e2e-") as name, sync_playwright() as playwright:
        folder = Path(name)
        notebook = copy_notebook(ROOT / "notebooks" / "edit_interactively.ipynb", folder, root=str(ROOT),
                                 out=str(folder / "edits"))  # fmt: skip
        explore = copy_notebook(ROOT / "notebooks" / "explore_attention.ipynb", folder, root=str(ROOT),
                                out=str(folder / "attention"), edits=16)  # fmt: skip
        browser = playwright.chromium.launch(executable_path=chromium(), args=[
            "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
            "--disable-component-update", "--disable-sync"])  # fmt: skip
        server = Server(folder)
        try:
            print("JupyterLab, edit_interactively:")
            page = NotebookPage(browser, server)
            page.open_lab(notebook.name)
            if docs:
                make_docs(page, docs)
                return []
            check_editor(page, shots / "editor", **limits)
            look(page, shots / "editor")
            failures += page.failures + page.errors
            print("JupyterLab, explore_attention:")
            page.page.close()
            page = NotebookPage(browser, server)
            page.open_lab(explore.name)
            check_attention(page, shots / "attention.png", update_limit=limits["update_limit"])
            look(page, shots / "attention")
            failures += page.failures + page.errors
        except Exception:
            page.shoot(shots / "failed.png")
            raise
        finally:
            server.close()
        if voila:
            server = Server(folder, notebook)
            try:
                print("Voilà, edit_interactively:")
                page = NotebookPage(browser, server)
                page.page.goto(server.url, wait_until="domcontentloaded", timeout=120_000)
                page.picture.wait_for(timeout=60_000)
                page.page.wait_for_timeout(1000)
                changed, middle = page.keys(AU12, 5)
                page.check(changed == 5, f"AU12 by keys: {changed} of 5 steps changed it, median", middle)
                page.shoot(shots / "editor_voila.png")
                failures += page.failures + page.errors
            finally:
                server.close()
        browser.close()
    return failures


def make_docs(page, folder: Path) -> None:
    """The README's screenshot, and a short animation of the panel at work."""
    tab = page.page
    page.picture.wait_for(timeout=60_000)
    page.wait_idle()
    part = tab.locator(".efgan-columns").first
    frames = []

    def frame(times: int = 1) -> None:
        tab.wait_for_timeout(250)
        picture = Image.open(io.BytesIO(part.screenshot())).convert("RGB")
        small = picture.resize((800, round(800 * picture.height / picture.width)), Image.Resampling.LANCZOS)
        frames.extend([small.quantize(160, dither=Image.Dither.NONE)] * times)

    frame(4)
    handle = tab.locator(f"{AU12} .noUi-handle").first
    handle.focus()
    for _ in range(9):
        for _ in range(5):
            tab.keyboard.press("ArrowRight")
        frame()
    for name in ("surprised", "angry", "happily surprised"):
        page.press(name)
        frame(5)
    tab.locator(".efgan-faces button").nth(8).click()
    frame(5)
    page.press("happy")
    frame(5)
    folder.mkdir(parents=True, exist_ok=True)
    part.screenshot(path=str(folder / "editor.png"))
    frames[0].save(folder / "editor.gif", save_all=True, append_images=frames[1:], duration=220, loop=0, optimize=True)


def look(page, shots: Path) -> None:
    """Screenshots at two widths and in the dark theme; nothing may be cut off."""
    for theme in ("Light", "Dark"):
        if theme == "Dark":
            page.page.get_by_role("menuitem", name="Settings", exact=True).click()
            page.page.locator(".lm-Menu-itemLabel", has_text="Theme").first.hover()
            page.page.locator(".lm-Menu-itemLabel", has_text="JupyterLab Dark").first.click()
        for width in (1280, 1920):
            page.page.set_viewport_size({"width": width, "height": 1000})
            page.page.wait_for_timeout(700)
            cut = page.clipped()
            page.check(not cut, f"nothing cut off at {width} px, {theme.lower()} {'; '.join(cut[:3])}")
            page.shoot(shots.with_name(f"{shots.name}_{width}_{theme.lower()}.png"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shots", type=Path, default=ROOT / "results" / "browser", help="folder for the screenshots")
    parser.add_argument("--no-voila", action="store_true")
    parser.add_argument("--docs", type=Path, help="only make the README's pictures, in this folder")
    parser.add_argument("--slack", type=float, default=1.0, help="factor on the time limits, for a busy machine")
    args = parser.parse_args()
    if lacks := missing():
        sys.exit("\n".join(["make e2e needs", *(f"  {line}" for line in lacks)]))
    if failures := run(args.shots, voila=not args.no_voila, slack=args.slack, docs=args.docs):
        sys.exit("failed: " + "; ".join(failures))
    print(f"pictures in {args.docs}" if args.docs else f"all steps passed; screenshots in {args.shots}")


if __name__ == "__main__":
    main()
