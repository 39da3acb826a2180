#!/usr/bin/env bash
# Installs the coding agents that swarm knows into one folder, and runs the tests that need them.
#   tests/agents/external/install_agents.sh [FOLDER] [PYTEST-OPTION...]
# Needs npm with node 18 or later, python3 with venv, and 3 GB; nothing leaves FOLDER.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=$(mkdir -p "${1:-/tmp/swarm-agents}" && cd "${1:-/tmp/swarm-agents}" && pwd)
shift || true
for package in @anthropic-ai/claude-code @openai/codex opencode-ai; do
  [ -d "$folder/npm/node_modules/$package" ] ||
    npm install --silent --prefix "$folder/npm" "$package@latest"
done
for pair in mini:mini-swe-agent aider:aider-chat; do
  place=$folder/${pair%%:*}
  [ -x "$place/bin/${pair%%:*}" ] || {
    python3 -m venv "$place"
    "$place/bin/pip" install -q "${pair##*:}"
  }
done
cd "$here/../../.."
SWARM_TEST_AGENTS=$folder exec python -m pytest -n 0 -v -rs "$@" "$here/test_real_agents.py"
