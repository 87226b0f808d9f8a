#!/usr/bin/env bash
# A small calculator. Usage: bash calc.sh add 2 3

add() {
  echo $(($1 + $2))
}

sub() {
  echo $(($1 - $2))
}

div() {
  echo $(($1 / $2))
}

"$@"
