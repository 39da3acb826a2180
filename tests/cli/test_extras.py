"""Only the task gpt needs torch; without it a line says what to install."""

from tests.support.target import environment, swarm

WITHOUT_TORCH = (
    "import sys\nsys.modules.update(dict.fromkeys(('torch', 'safetensors', 'rustbpe')))\n"
)


def test_without_torch_gpt_names_the_extra(tmp_path):
    """A launch of gpt is refused in one line and leaves nothing."""
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text(WITHOUT_TORCH)
    path = f"{hidden}:{environment()['PYTHONPATH']}"
    swarm(tmp_path, "init", "gpt", "--task", "gpt")
    told = swarm(tmp_path / "gpt", "launch", code=2, PYTHONPATH=path)
    fix = "pip install 'swarm-ratchet[gpt]'"
    assert told == f"swarm: task gpt needs torch and safetensors and rustbpe: {fix}\n"
    assert not (tmp_path / "gpt/.swarm").exists()
