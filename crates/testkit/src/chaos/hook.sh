#!/bin/sh
# The remote's hook of the chaos suite: a push takes a moment, and each is written down.
while read -r old new ref; do echo "push $new $ref" >> PLACE/log; done
sleep "0.$(od -An -N2 -tu2 /dev/urandom | awk '{ printf "%03d", $1 % 100 }')"
