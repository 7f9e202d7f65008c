"""The words that real shells offer after a TAB, with the one line of the shell's rc file and nothing else."""

import os
import pty
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPTS = Path(sys.executable).parent
SETUP = 'eval "$(expkit completion {})"'
# Readline asks a function so: what it replaces begins after the last character of COMP_WORDBREAKS.
ASK = """COMP_WORDBREAKS=$1
eval "$(expkit completion bash)"
shift
for COMP_LINE; do
    COMP_POINT=${#COMP_LINE}
    word=${COMP_LINE##* }
    _expkit expkit "${word##*["$BREAKS"]}"
    printf '%s|' "${COMPREPLY[@]}"; echo
done"""


def environment(**more: str) -> dict[str, str]:
    """That of a user whose virtual environment is active."""
    return {"PATH": f"{SCRIPTS}:/usr/bin:/bin", "HOME": str(Path.cwd()), "TERM": "dumb", **more}


def asked(breaks: str, *lines: str) -> dict[str, list[str]]:
    """What a bash offers at the end of each line."""
    done = subprocess.run(
        ["bash", "--norc", "-c", ASK, "bash", breaks, *lines],
        env=environment(BREAKS=breaks),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    offered = (line.split("|")[:-1] for line in done.stdout.splitlines())
    return dict(zip(lines, offered, strict=True))


def test_commands_options_groups_keys_and_values_are_offered(project: Path) -> None:
    (project / "outputs").rmdir()
    offered = asked(
        " \t\n\"'><=;|&(:",  # as bash sets it
        "expkit ",
        "expkit com",
        "expkit compare --m",
        "expkit predict x --precision ",
        "expkit predict x --file ",
        "expkit --cfg ",
        "expkit lora=",
        "expkit lora=none optimizer=s",
        "expkit optimizer=sgd optimizer.mo",
        "expkit seed=1 -m optimizer=adamw,sgd optimizer.l",
        "expkit precision=f",
        "expkit dry_run=",
        "expkit nonsense=1 train.ep",
        "expkit exp",
        "expkit hydra/la",
        "expkit inspect data=files data.tr",
        "expkit data=files data.train_file=",
    )
    first = offered.pop("expkit ")
    assert {"compare ", "doctor ", "lora=", "optimizer.", "seed=", "experiment="} <= {*first}
    assert list(offered.values()) == [
        ["compare ", "completion "],
        ["--metrics ", "--markdown "],
        ["fp32 ", "bf16 "],
        [],  # and so bash offers files
        ["job ", "hydra ", "all "],
        ["all_linear ", "attention ", "none "],
        ["sgd "],
        ["optimizer.momentum="],
        ["optimizer.lr="],
        ["fp32 ", "fp16 "],
        ["true ", "false "],
        ["train.epochs="],
        ["experiment="],
        ["hydra/launcher="],
        ["data.train_file="],
        [],
    ]
    assert not list(project.iterdir()), "a TAB leaves nothing behind"


def test_words_are_whole_where_bash_does_not_break_them(project: Path) -> None:
    assert asked(" \t\n", "expkit lora=a") == {"expkit lora=a": ["lora=all_linear ", "lora=attention "]}


@pytest.mark.parametrize("shell", ["bash", "zsh"])
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
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment(), start_new_session=True
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
    while text not in re.sub(r"\x1b\[[?\d;]*\w|[\r\x07]", "", shown) and time.monotonic() < deadline:
        try:
            shown += os.read(terminal, 4096).decode(errors="replace")
        except BlockingIOError:
            time.sleep(0.02)
    return re.sub(r"\x1b\[[?\d;]*\w|[\r\x07]", "", shown)
