#!/bin/sh
# Runs SCRIPT for TASKS tasks, CONCURRENCY at once. With STORE set, the bare repository is made first.
set -eu
if [ -n "${STORE:-}" ]; then
    git init --quiet --bare "$STORE"
    git -C "$STORE" fetch --quiet --no-tags --no-write-fetch-head "$REMOTE" +refs/heads/main:refs/heads/main
fi
mkdir -p "$WORK"
seq -f 'task-%g' "$TASKS" | xargs -n 1 -P "$CONCURRENCY" sh "$SCRIPT"
