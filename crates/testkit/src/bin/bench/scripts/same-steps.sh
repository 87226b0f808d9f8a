#!/bin/sh
# One task with the same git steps as the orchestrator, as a careful person would write them: the fewest processes
# that do the same. Takes the task's name; REMOTE, STORE (a bare repository), WORK and AGENT come from outside.
set -eu
task=$1
branch=bench/$task
work=$WORK/$task
tree=$work/tree
mkdir -p "$work/gate"

# The base is fetched into the store, and the agent gets a clone that shares its objects.
git -C "$STORE" fetch --quiet --no-tags --no-write-fetch-head "$REMOTE" +refs/heads/main:refs/heads/main
base=$(git -C "$STORE" rev-parse refs/heads/main)
git clone --quiet --shared --no-tags --branch main "$STORE" "$tree"
git -C "$tree" checkout --quiet -b "$branch"

(cd "$tree" && MOSAIC_TASK_ID=$task sh -c "$AGENT")

# What the agent made is committed, and comes back as a bundle whose objects are checked.
git -C "$tree" add --all
git -C "$tree" commit --quiet -m "Task $task"
git -C "$tree" bundle create --quiet "$work/bundle" "^$base" HEAD
git -C "$STORE" -c fetch.fsckObjects=true fetch --quiet --no-tags --no-write-fetch-head "$work/bundle" "+HEAD:refs/agents/$task/head"
head=$(git -C "$STORE" rev-parse "refs/agents/$task/head")
git -C "$STORE" merge-base --is-ancestor "$base" "$head"

# The gate runs on a fresh checkout of exactly this commit.
GIT_INDEX_FILE=$work/index git --git-dir="$STORE" --work-tree="$work/gate" read-tree --reset -u "$head"
(cd "$work/gate" && sh -c true)

# It must fit onto the newest base; then exactly this commit is pushed, if the branch is still where it was.
git -C "$STORE" fetch --quiet --no-tags --no-write-fetch-head "$REMOTE" +refs/heads/main:refs/heads/main
git -C "$STORE" merge-tree --write-tree refs/heads/main "$head" >/dev/null
git -C "$STORE" push --quiet "--force-with-lease=refs/heads/$branch:" "$REMOTE" "$head:refs/heads/$branch"

rm -rf "$work"
