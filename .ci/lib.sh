# Shared by the three tiers of CI: packages by name, timed steps, parts that a later call resumes. Sourced, never run.

export CARGO_TERM_COLOR=never CARGO_INCREMENTAL=0
# A snapshot that does not fit fails its test and is never written here.
export INSTA_UPDATE=no
claude_version=2.1.330         # the Claude Code that the tests drive against a scripted model endpoint
cache=${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/mosaic-ci
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
times=$scratch/times
: >"$times"

# Closes the step before, says which one begins.
step() {
  local now=$SECONDS
  if [ -n "${step_name:-}" ]; then printf '%6d s  %s\n' $((now - step_begun)) "$step_name" >>"$times"; fi
  step_name=$*
  step_begun=$now
  [ -z "$step_name" ] || printf '\n== %s\n' "$step_name"
}

# Prints the time of every step.
report_times() {
  step ""
  printf '\n== time per step\n'
  cat "$times"
  printf '%6d s  all\n' "$SECONDS"
}

# Installs what is missing: Debian packages, Claude Code from npm. No service is started by its installation.
packages() {
  local need=() sudo=""
  [ "$(id -u)" -eq 0 ] || sudo="sudo"
  command -v git >/dev/null || need+=(git)
  command -v cc >/dev/null || need+=(gcc libc6-dev)
  command -v npm >/dev/null || need+=(npm)
  command -v node >/dev/null || need+=(nodejs)
  command -v python3 >/dev/null || need+=(python3)
  python3 -c 'import ensurepip' 2>/dev/null || need+=(python3 python3-venv)
  command -v redis-server >/dev/null || need+=(redis-server)
  command -v redis-sentinel >/dev/null || need+=(redis-sentinel)
  command -v git-lfs >/dev/null || need+=(git-lfs)
  command -v llvm-cov-22 >/dev/null || need+=(llvm-22)
  command -v ps >/dev/null || need+=(procps)
  if [ ${#need[@]} -gt 0 ]; then
    $sudo apt-get update -qq
    $sudo env RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${need[@]}" >/dev/null
  fi
  [ -x "$cache/python/bin/setuptools-scm" ] || { python3 -m venv "$cache/python" && "$cache/python/bin/pip" install -q setuptools-scm; }
  export PATH=$PATH:$cache/python/bin
  local claude=$cache/node_modules/@anthropic-ai/claude-code-linux-x64/claude
  if [ "$("$claude" --version 2>/dev/null | cut -d' ' -f1)" != "$claude_version" ]; then
    mkdir -p "$cache"
    npm install --silent --no-save --prefix "$cache" "@anthropic-ai/claude-code@$claude_version" >/dev/null 2>&1 ||
      { echo "Claude Code $claude_version could not be installed from npm" >&2; exit 1; }
  fi
  "$claude" --version
  export MOSAIC_TEST_CLAUDE_BIN=$claude
}

# Says what must be there: a test that needs one of these fails instead of being skipped.
require_all() {
  export MOSAIC_TEST_REQUIRE=claude,valkey,bullmq,git-lfs
  # Mounts in a namespace of their own: a container may forbid them, and then the tests say that they are skipped.
  if unshare -m true 2>/dev/null; then MOSAIC_TEST_REQUIRE+=,mounts; fi
  MOSAIC_TEST_REQUIRE+=,setuptools-scm
  # A Rust without rustup has no shims that a gate could fail to find.
  if command -v rustup >/dev/null; then MOSAIC_TEST_REQUIRE+=,rustup; fi
}

# Prints a number that follows from the commit: what a sample is chosen by.
commit_number() { echo $((16#$(git rev-parse --short=7 HEAD | cut -c1-7))); }

# Runs the parts of a tier, each a function `part_NAME`; those named in the arguments, else all that have not yet passed on
# this commit. What passed is noted with its duration, so that a call after an interruption resumes.
run_parts() {
  local tier=$1 all=$2 wanted name begun failed=0 notes
  shift 2
  notes=$cache/$tier/$(git rev-parse HEAD)
  if [ -n "$(git status --porcelain)" ]; then notes=$scratch/notes; fi
  mkdir -p "$notes"
  wanted=${*:-$all}
  for name in $wanted; do
    declare -F "part_$name" >/dev/null || { echo "there is no part $name; parts: $all" >&2; exit 2; }
    if [ $# -eq 0 ] && [ -e "$notes/$name" ]; then continue; fi
    printf '\n== %s\n' "$name"
    begun=$SECONDS
    if (set -euo pipefail; "part_$name"); then
      printf '%6d s  %s\n' $((SECONDS - begun)) "$name" >"$notes/$name"
    else
      rm -f "$notes/$name"
      printf '%6d s  %s FAILED\n' $((SECONDS - begun)) "$name" | tee -a "$scratch/failed"
      failed=$((failed + 1))
    fi
  done
  printf '\n== parts of this tier on %s\n' "$(git rev-parse --short HEAD)"
  for name in $all; do cat "$notes/$name" 2>/dev/null || echo "     -    $name (not passed)"; done
  printf '\n%d passed, %d failed\n' "$(ls "$notes" | wc -l)" "$failed"
  [ "$failed" -eq 0 ]
}
