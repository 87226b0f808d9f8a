#!/usr/bin/env bash
# Complains about tabs and trailing blanks.
found=$(grep -nP '\t|[ ]+$' ./*.sh)
if [ -n "$found" ]; then
  echo "$found" | sed 's|$|: error: tab or trailing blank|'
  exit 1
fi
