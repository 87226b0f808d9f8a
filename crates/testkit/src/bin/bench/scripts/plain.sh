#!/bin/sh
# One task as a person does it without any orchestrator: clone, work, commit, push, remove. Takes the task's name;
# REMOTE, WORK and AGENT come from outside.
set -eu
task=$1
branch=bench/$task
tree=$WORK/$task

git clone --quiet "$REMOTE" "$tree"
git -C "$tree" checkout --quiet -b "$branch"
(cd "$tree" && MOSAIC_TASK_ID=$task sh -c "$AGENT")
git -C "$tree" add --all
git -C "$tree" commit --quiet -m "Task $task"
git -C "$tree" push --quiet origin "$branch"
rm -rf "$tree"
