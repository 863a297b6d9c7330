"""The rules about what is in the repository, and that its commands do what the documents say."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
LEFT_BY_TOOLS = {"node_modules", "__pycache__", "build", "dist", "results"}
LOCK_FILES = ("package-lock.json", "npm-shrinkwrap.json", "pnpm-lock.yaml", "yarn.lock", "uv.lock", "poetry.lock")


def ours() -> Iterator[Path]:
    """The files of the repository, without what tools put beside them."""
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if name == ".ci" or not (name in LEFT_BY_TOOLS or name.startswith("."))]
        yield from (Path(folder) / name for name in names)


def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def run(*command: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=30, check=False)


def test_lock_files_name_no_host_of_a_registry() -> None:
    naming = [path for path in ours() if path.name in LOCK_FILES and '"resolved"' in path.read_text()]
    assert naming == []


def test_folders_with_npm_packages_keep_hosts_out_of_their_lock_files() -> None:
    for package in (path for path in ours() if path.name == "package.json"):
        assert "omit-lockfile-registry-resolved=true" in (package.parent / ".npmrc").read_text().splitlines()
        assert (package.parent / "package-lock.json").exists()


def test_no_file_names_a_registry_or_a_folder_of_one_machine() -> None:
    local = re.compile(rb"registry[.]npmjs|pythonhosted[.]org|/(?:home|root|Users)/[a-z]")
    assert [path for path in ours() if local.search(path.read_bytes())] == []


def test_documents_mention_only_targets_that_exist() -> None:
    documents = [path for path in ours() if path.suffix == ".md"] + [ROOT / ".ci" / "run"]
    mentioned = {name for path in documents for name in re.findall(r"\bmake ([a-z-]+)\b(?=[`\s:])", path.read_text())}
    assert {"run", "test", "bench"} <= mentioned
    assert mentioned <= targets()


def test_links_between_documents_lead_somewhere() -> None:
    broken = [
        (path.name, link)
        for path in ours()
        if path.suffix == ".md"
        for link in re.findall(r"(?:\]\(|src=\"|srcset=\")([^)#\"]+)", path.read_text())
        if "://" not in link and not (path.parent / link).exists()
    ]
    assert broken == []


def test_every_target_says_what_it_is_for() -> None:
    listed = set(re.findall(r"^  make ([a-z-]+)\s+\S", run("make", "help").stdout, re.MULTILINE))
    assert listed == targets()


def test_a_command_that_is_here_is_not_installed() -> None:
    ran = run("scripts/apt-install", "sh", "no-such-package")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


def test_the_ci_run_repeats_the_closing_lines_and_keeps_the_exit_status(tmp_path: Path) -> None:
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci")
    (tmp_path / "Makefile").write_text("test:\n\t@echo '==== 1 failed, 2 passed in 0.01s ===='\n\t@exit 3\n")
    ran = run(tmp_path / ".ci" / "run")
    assert ran.returncode == 2
    _, closing = ran.stdout.split("closing lines:\n")
    assert "1 failed, 2 passed" in closing


def test_the_ci_run_ends_what_it_started(tmp_path: Path) -> None:
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci")
    # Whoever still holds the output keeps run() waiting for its end, until the timeout fails the test.
    (tmp_path / "Makefile").write_text("test:\n\t@tail -f /dev/null >&3 &\n\t@echo '==== 1 passed in 0.01s ===='\n")
    ran = run("bash", "-c", f"exec 3>&1; exec {tmp_path}/.ci/run")
    assert ran.returncode == 0
    assert "1 passed" in ran.stdout
