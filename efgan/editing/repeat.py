"""Words that repeat an edit of a session: the Python call exactly, the `efgan edit …` command but for the margin of a
gallery face, which fades into the picture as a crop into its photo.
"""

import shlex

from efgan.editing.pictures import save_png
from efgan.editing.reference import load_gallery
from efgan.editing.session import EditSession
from efgan.editing.sources import save_openface
from efgan.errors import UserError


def edit_command(session: EditSession) -> str:
    """The command that repeats the edit; the face, its landmarks and its AUs are written for it.

    Raises:
        UserError: nothing is asked for; the edit uses a part of the model only, which the command cannot say; StarGAN
            without an expression.
    """
    state, face = session.state, session.face
    if state.stages or not state.local_branches:
        raise UserError("`efgan edit` always uses the whole model; with fewer stages or without local branches, use "
                        "the Python call")  # fmt: skip
    if state.method == "stargan":
        asked = ["--expression", state.chosen_expression()]
    else:
        if state.is_untouched(face.aus):
            raise UserError("nothing is asked for yet: move a slider or press an expression")
        option, form = ("--relative", "+g") if state.relative else ("--au", "g")
        asked = [word for code, v in state.changes(face.aus).items() for word in (option, f"{code}={v:{form}}")]
    path = save_png(face.photo, session.new_path("source.png")).resolve()
    table = save_openface(face, path.with_suffix(".csv"))
    run = [] if _opens_by_default(session) else [session.editor().folder.resolve().as_posix()]
    out = session.new_path("png").resolve()
    return shlex.join(["efgan", "edit", *run, str(path), "--openface", str(table), *asked, "--out", str(out)])


def python_call(session: EditSession) -> str:
    """Python that repeats the edit; a photo's face is written for it.

    Raises:
        UserError: StarGAN without an expression.
    """
    state, face = session.state, session.face
    run = "" if _opens_by_default(session) else f'"{session.editor().folder.resolve().as_posix()}"'
    if state.face < session.gallery_size:
        size = session.face.image.shape[0]
        resized = "" if load_gallery().size == size else f".resized({size})"
        imports = "from efgan import load_editor\nfrom efgan.editing.reference import load_gallery\n\n"
        source = f"faces = load_gallery(){resized}\nimage = faces.images[{state.face}].permute(1, 2, 0).numpy()\n"
        words = [f"source_aus=5 * faces.aus[{state.face}].numpy()"]
    else:
        path = save_png(face.image, session.new_path("face.png")).resolve()
        imports = "import numpy as np\nfrom PIL import Image\n\nfrom efgan import load_editor\n\n"
        source = f'image = np.asarray(Image.open("{path.as_posix()}"))\n'
        words = [f"source_aus={[round(float(value), 4) for value in face.aus]}"]
    words += [f"stages={state.stages}"] if state.stages else []
    words += [] if state.local_branches else ["local_branches=False"]
    if state.method == "stargan":
        words.append(f'expression="{state.chosen_expression()}"')
    else:
        words += ["relative=True"] if state.relative else []
        words += [f"{code}={value:g}" for code, value in state.changes(face.aus).items()]
    return f"{imports}editor = load_editor({run})\n{source}edited = editor.edit(image, {', '.join(words)})\n"


def _opens_by_default(session: EditSession) -> bool:
    """True for the model that `load_editor()` opens."""
    return session.shipped and session.state.method == "cascade_ef_gan"
