"""The words that real shells offer after a TAB, with the one line of the shell's rc file and nothing else."""

import argparse
import os
import pty
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from expkit.commands import completion

SCRIPTS = Path(sys.executable).parent
BREAKS = " \t\n\"'><=;|&(:"  # as bash sets COMP_WORDBREAKS
SETUP = 'eval "$(expkit completion {})"'
# Readline asks a function so: what it replaces begins after the last character of COMP_WORDBREAKS.
ASK = """COMP_WORDBREAKS=$1
eval "$(expkit completion bash)"
shift
for COMP_LINE; do
    COMP_POINT=${#COMP_LINE}
    word=${COMP_LINE##* }
    _expkit expkit "${word##*["$COMP_WORDBREAKS"]}"
    printf '%s|' "${COMPREPLY[@]}"; echo
done"""


def environment() -> dict[str, str]:
    """That of a user whose virtual environment is active."""
    return {"PATH": f"{SCRIPTS}:/usr/bin:/bin", "HOME": str(Path.cwd()), "TERM": "dumb"}


def in_bash(breaks: str, *lines: str) -> list[list[str]]:
    """What the function of a bash offers at the end of each line."""
    done = subprocess.run(
        ["bash", "--norc", "-c", ASK, "bash", breaks, *lines],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return [line.split("|")[:-1] for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("expkit com", ["compare ", "completion "]),
        ("expkit compare --m", ["--metrics ", "--markdown "]),
        ("expkit predict x --precision ", ["fp32 ", "bf16 "]),
        ("expkit predict x --file ", []),  # and so the shell offers files
        ("expkit --cfg ", ["job ", "hydra ", "all "]),
        ("expkit optimizer=sgd optimizer.mo", ["optimizer.momentum="]),
        ("expkit seed=1 -m optimizer=adamw,sgd optimizer.l", ["optimizer.lr="]),
        ("expkit precision=f", ["fp32 ", "fp16 "]),
        ("expkit nonsense=1 train.ep", ["train.epochs="]),
        ("expkit 'exp", ["experiment="]),
        ("expkit hydra/la", ["hydra/launcher="]),
        ("expkit inspect data=files data.tr", ["data.train_file="]),
        ("expkit data=files data.train_file=", []),
    ],
)
def test_what_may_follow(
    line: str,
    offered: list[str],
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COMP_LINE", line)
    monkeypatch.setenv("COMP_WORD", re.split("[ =']", line)[-1])
    assert completion.run(argparse.Namespace(shell="bash"))
    words = capsys.readouterr().out.splitlines()
    assert [word.removeprefix("precision=") for word in words] == offered


def test_the_first_word_is_a_command_or_an_override_and_torch_stays_away(project: Path) -> None:
    (project / "outputs").rmdir()
    (first,) = in_bash(BREAKS, "expkit ")
    assert {"compare ", "doctor ", "lora=", "optimizer.", "seed=", "experiment="} <= {*first}
    assert not list(project.iterdir()), "a TAB leaves nothing behind"
    code = "import sys; from expkit.commands.completion import _candidates as c; c([], ''); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(("breaks", "offered"), [(BREAKS, ""), (" \t\n", "lora=")])
def test_bash_breaks_words_at_an_equals_sign_or_does_not(
    breaks: str, offered: str, project: Path
) -> None:
    (words,) = in_bash(breaks, "expkit lora=a")
    assert words == [f"{offered}all_linear ", f"{offered}attention "]


@pytest.mark.parametrize("shell", ["bash", pytest.param("zsh", marks=pytest.mark.slow)])
def test_a_tab_in_a_terminal(shell: str, project: Path) -> None:
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    (project / "train.jsonl").touch()
    (project / f".{shell}rc").write_text(SETUP.format(shell) + "\nPS1='ready> '\n")
    command = ["bash", "--rcfile", ".bashrc", "-i"] if shell == "bash" else ["zsh", "-i"]
    typed = {
        "expkit compl\tba\t": "expkit completion bash ",
        "expkit lora=non\toptimizer.weigh\t": "expkit lora=none optimizer.weight_decay=",
        "expkit predict x --file tr\t": "expkit predict x --file train.jsonl ",
        "expkit data.train_file=./tr\t": "expkit data.train_file=./train.jsonl ",
    }
    us, theirs = pty.openpty()
    process = subprocess.Popen(
        command,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment(),
        start_new_session=True,
    )
    os.close(theirs)
    try:
        until(us, "ready> ")
        for keys, expected in typed.items():
            os.write(us, b"\x15" + keys.encode())  # Ctrl-U removes the line before
            assert expected.rstrip() in until(us, expected.rstrip()), keys
    finally:
        process.kill()
        process.wait()
        os.close(us)


def until(terminal: int, text: str) -> str:
    """What the terminal shows once the text is there, or after ten seconds."""
    shown, deadline = "", time.monotonic() + 10
    os.set_blocking(terminal, False)
    while (
        text not in re.sub(r"\x1b\[[?\d;]*\w|[\r\x07]", "", shown) and time.monotonic() < deadline
    ):
        try:
            shown += os.read(terminal, 4096).decode(errors="replace")
        except BlockingIOError:
            time.sleep(0.02)
    return re.sub(r"\x1b\[[?\d;]*\w|[\r\x07]", "", shown)
