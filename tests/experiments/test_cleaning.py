"""What hpkit keeps can be deleted, and a user's files beside it stay."""

from dataclasses import replace
from pathlib import Path

import pytest

from hpkit.__main__ import main
from hpkit.commands import clean
from hpkit.experiments.cleaning import kept
from hpkit.experiments.runs import run
from hpkit.waiting import file_lock

KEY = "0123456789ab"
OURS = [
    f"runs/{KEY}/run.json", f"runs/{KEY}/weights.safetensors", f"runs/{KEY}/scores-{KEY}.json",
    f"runs/{KEY}/checkpoint.pt.89abcdef.part", f"runs/{KEY}.damaged-1/history.csv",
    f"runs/{KEY}.lock", "cache/photos-v1/arrays/i_a_clean.npy", "cache/photos-v1/splits.json",
    "cache/photos-v1.lock", f"cache/converted/{KEY}/i_a_clean.npy", f"cache/converted/{KEY}/lock",
    f"cache/digests/{KEY}.json", "cache/peers/hynet--HyNet_LIB.pth",
]
THEIRS = [
    "runs/thesis.tex", f"runs/{KEY}/notes.txt", f"runs/photos/{KEY}.jpg", "runs/abc/run.json",
    "cache/photos-v1-best/me.jpg", "cache/converted/film.npy", "cache/converted/x/film.npy",
    "cache/photos-v2/me.jpg", "cache/hpatches/arrays/i_a_clean.npy", "cache/progress/ann.json",
    "cache/peers/mine.pth", "peers/hynet--HyNet_LIB.pth",
]


@pytest.fixture
def folders(tmp_path, monkeypatch):
    for name in [*OURS, *THEIRS]:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    monkeypatch.setenv("HPKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HPKIT_RUNS", str(tmp_path / "runs"))
    return tmp_path


def left(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def test_only_what_hpkit_wrote_is_deleted(folders, capsys):
    assert main(["clean", "--yes"]) == 0
    assert left(folders) == set(THEIRS)
    assert not (folders / f"runs/{KEY}.damaged-1").exists()  # nothing else was in it
    told = capsys.readouterr().out
    assert "MB" in told and f"4 in {folders / 'runs' / KEY}" in told
    assert main(["clean"]) == 0 and "nothing of hpkit's in" in capsys.readouterr().out


@pytest.mark.parametrize(("answer", "gone"), [("y", True), ("Yes ", True), ("", False),
                                              ("no", False), (EOFError(), False)])
def test_it_asks_before(folders, answer, gone, monkeypatch, capsys):
    def reply(question):
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr("builtins.input", reply)
    assert clean.main([]) == (0 if gone else 1)
    tried = {f"runs/{KEY}.lock"}  # some releases of filelock delete the file of a lock
    assert left(folders) | tried == set(THEIRS if gone else [*OURS, *THEIRS]) | tried


@pytest.mark.slow
def test_everything_of_a_real_run_is_known(denoiser, tmp_path, monkeypatch):
    monkeypatch.setenv("HPKIT_RUNS", str(tmp_path))
    run(replace(denoiser, averaged=0.5))
    assert {path for path in kept() if tmp_path in path.parents} == {
        path for path in tmp_path.rglob("*") if path.is_file()}


def test_a_run_that_is_trained_now_stays(folders):
    mine = [name for name in OURS if name.startswith((f"runs/{KEY}/", f"runs/{KEY}.lock"))]
    with file_lock(folders / "runs" / f"{KEY}.lock"):
        assert main(["clean", "--yes"]) == 0
        assert left(folders) == {*THEIRS, *mine}
    assert main(["clean", "--yes"]) == 0
    assert left(folders) == set(THEIRS)


def test_a_link_is_deleted_and_what_it_leads_to_stays(folders):
    elsewhere = folders / "elsewhere" / "arrays"
    elsewhere.mkdir(parents=True)
    (elsewhere / "a.npy").write_text("x")
    (folders / "cache" / "photos-v3").symlink_to(elsewhere.parent)
    assert main(["clean", "--yes"]) == 0
    assert (elsewhere / "a.npy").exists() and not (folders / "cache" / "photos-v3").exists()
