"""Mutants of what reads files that strangers made: their kinds, their thumbnails, and the child that is locked."""

from tests.mutants.mutant import Mutant, python

CONFINED = "tests/files/test_confinement.py::test_"
SHOWN = "tests/files/test_kinds.py::test_a_film_or_a_picture_is_shown_as_it_is"
SOUND = "tests/files/test_kinds.py::test_sound_in_any_container_has_its_type_and_duration"

MUTANTS: tuple[Mutant, ...] = (
    python(
        "a file is read in a child that is not locked", "shared/media/child.py",
        "the child is locked", "pass",
        f"{CONFINED}a_malicious_file_gets_nothing",
    ),
    python(
        "the child's calls are not filtered", "shared/media/confinement.py",
        "calls are filtered", "pass",
        f"{CONFINED}a_malicious_file_gets_nothing",
    ),
    python(
        "the function's environment stays readable", "shared/media/hiding.py",
        "the parent is hidden", "return False",
        f"{CONFINED}an_examination_hides_this_process",
    ),
    python(
        "what the child has started lives on", "shared/media/examination.py",
        "the session is killed whole", "if False:",
        f"{CONFINED}what_a_file_has_started_ends_with_its_examination[after an answer]",
    ),
    python(
        "HDR is shown as it is coded", "shared/media/films.py",
        "high dynamic range", "if True:",
        f"{SHOWN}[HDR10]", f"{SHOWN}[HLG]",
    ),
    python(
        "a film is as wide as it is stored", "shared/media/films.py",
        "pixels that are not square", "if True:",
        f"{SHOWN}[h264 of wide pixels]",
    ),
    python(
        "a picture's profile is not read", "shared/media/images.py",
        "profiles", "if True:",
        f"{SHOWN}[jpeg of linear grey]",
    ),
    python(
        "dark greys stay dark", "shared/media/images.py",
        "stretched greys", "if True:",
        f"{SHOWN}[png of 16 bits, nearly black]",
    ),
    python(
        "sound in a film's container is a film", "shared/storage/kinds.py",
        "sound only", "if False:",
        f"{SOUND}[opus in webm]",
    ),
    python(
        "a drawing opens in the browser", "shared/jobs/serving.py",
        "attached", "if False:",
        "tests/http/test_file_route.py::test_nothing_is_served_as_active_content[file-svg]",
    ),
)  # fmt: skip
