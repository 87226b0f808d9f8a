#!/usr/bin/env bash
# Runs the tests with tracing on and writes coverage/lcov.info: which lines of calc.sh were run.
set -u
mkdir -p coverage
export COVERAGE_TRACE=$PWD/coverage/trace
: >"$COVERAGE_TRACE"
cat >coverage/env.sh <<'TRACE'
exec 9>>"$COVERAGE_TRACE"
BASH_XTRACEFD=9
PS4='+:${BASH_SOURCE}:${LINENO}: '
set -x
TRACE
BASH_ENV=$PWD/coverage/env.sh bash test.sh >/dev/null 2>&1
{
  echo "SF:calc.sh"
  number=0
  while IFS= read -r line; do
    number=$((number + 1))
    case $line in
      '' | '#'* | *'() {' | *[[:space:]]fi | fi | *[[:space:]]done | done | '}' | *[[:space:]]else) continue ;;
    esac
    hits=$(grep -c "^+*:calc.sh:$number: " "$COVERAGE_TRACE")
    echo "DA:$number,$hits"
  done <calc.sh
  echo "end_of_record"
} >coverage/lcov.info
