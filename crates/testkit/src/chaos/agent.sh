#!/bin/sh
# What an agent of the chaos suite does; PLACE is put in when a place is made.
cat > /dev/null
exec 9> "PLACE/locks/$MOSAIC_AGENT_ID"
flock -n 9 || echo "OVERLAP agent $MOSAIC_AGENT_ID $$" >> PLACE/log
echo "start $MOSAIC_AGENT_ID $$" >> PLACE/log
work="work-$MOSAIC_TASK_ID.txt"
again=
[ ! -e "$work" ] || again=yes
wrote() {
  echo "$MOSAIC_AGENT_ID-$$-$1" >> "$work"
  echo "wrote $MOSAIC_AGENT_ID $work $MOSAIC_AGENT_ID-$$-$1" >> PLACE/log
}
wrote one
echo "working $$"
case "$MOSAIC_TASK_ID" in *escapes*) setsid sh -c 'setsid sleep 600 & exec sleep 600' > /dev/null 2>&1 & ;; esac
case "$MOSAIC_TASK_ID" in
  repair*) [ -z "$again" ] || echo yes > fixed ;;
  secret*)
    if [ -z "$again" ]; then
      echo 'token = "SECRET"' > config.txt
      git add config.txt && git commit -qm 'add it'
    else
      git reset -q --soft "$MOSAIC_BASE"
      rm -f config.txt
      git add -A
    fi
    ;;
  crash*)
    if [ -z "$again" ]; then
      echo "end $MOSAIC_AGENT_ID $$" >> PLACE/log
      exit 1
    fi
    ;;
  commit*)
    git add -A && git commit -qm 'half way'
    wrote two
    ;;
esac
hide() {
  echo "$MOSAIC_AGENT_ID-$$-$2" >> "$1"
  echo "wrote $MOSAIC_AGENT_ID $1 $MOSAIC_AGENT_ID-$$-$2" >> PLACE/log
}
case "$MOSAIC_TASK_ID" in
  hidden*)
    # Every line here is out of sight of `git status` and `git add --all`, or would be committed as a bare link.
    mkdir -p scaffold empty
    git init -q scaffold && hide scaffold/main.txt nested
    (cd scaffold && git add -A && git -c user.name=a -c user.email=a@b commit -qm scaffold)
    git init -q empty && hide empty/main.txt unborn
    git update-index --skip-worktree README.md && hide README.md skipped
    git update-index --assume-unchanged src/lib.txt && hide src/lib.txt assumed
    ;;
esac
case "$MOSAIC_TASK_ID" in
  *hold*)
    echo "hold $MOSAIC_AGENT_ID $$" >> PLACE/log
    i=0
    while [ ! -e "PLACE/go-$MOSAIC_TASK_ID" ] && [ $i -lt 2400 ]; do sleep 0.05; i=$((i + 1)); done
    ;;
  storm*) sleep "0.$(od -An -N2 -tu2 /dev/urandom | awk '{ printf "%03d", $1 % 1000 }')" ;;
esac
wrote last
echo "done $$"
echo "end $MOSAIC_AGENT_ID $$" >> PLACE/log
