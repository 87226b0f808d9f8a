#!/bin/sh
# The gate of the chaos suite: it wants every file that a task's name asks for.
commit=$(git rev-parse HEAD)
exec 8> "PLACE/locks/gate-$commit"
flock -n 8 || echo "OVERLAP gate $commit $$" >> PLACE/log
echo "gate $commit $$" >> PLACE/log
case "$(ls)" in *work-storm*) sleep "0.$(od -An -N2 -tu2 /dev/urandom | awk '{ printf "%03d", $1 % 100 }')" ;; esac
ls work-*.txt > /dev/null || exit 1
case "$(ls)" in *work-repair*) [ -e fixed ] || { echo "there is no file named fixed"; exit 1; } ;; esac
