#!/usr/bin/env bash
# Runs every check; ends with 1 when one failed.
passed=0
failed=0

check() { # check NAME EXPECTED COMMAND...
  name=$1 expected=$2
  shift 2
  got=$("$@" 2>&1)
  if [ "$got" = "$expected" ]; then
    passed=$((passed + 1))
    echo "ok $name"
  else
    failed=$((failed + 1))
    echo "test.sh:1: error: $name: expected '$expected', got '$got'"
  fi
}

check add 5 bash calc.sh add 2 3
check sub 4 bash calc.sh sub 7 3
check div 2 bash calc.sh div 6 3

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
