# What setup-env.sh and deploy.sh share; sourced, not run. Works with bash 3.2, which macOS has.
# shellcheck shell=bash

HELPER="$(dirname "${BASH_SOURCE[0]}")/helper.py"
LOOK=$(mktemp -d)
DRY_RUN=no
CHANGES=0
PAUSE=${SETUP_PAUSE:-6}
TRIES=10
# What passes by itself: Google's services tell each other of new accounts, roles and services within a minute or two, and Firestore
# makes one index at a time.
PASSES='does not exist|SERVICE_DISABLED|has not been used in project|ABORTED|underlying data changed|Concurrent|try again|RESOURCE_EXHAUSTED'

export CLOUDSDK_CORE_DISABLE_PROMPTS=1

say() { printf '%s\n' "$*" >&2; }

fail() {
  say "$*"
  exit 1
}

helper() { python3 "$HELPER" "$@"; }

# A line that can be pasted into a shell.
shown() {
  local word line=
  for word in "$@"; do
    case $word in
      *[!A-Za-z0-9_./:=,@%+-]* | '') line+=" $(printf '%q' "$word")" ;;
      *) line+=" $word" ;;
    esac
  done
  printf '%s\n' "${line# }"
}

# ask FILE COMMAND…: what a command that changes nothing answers, into FILE. Its failure ends everything, with what it said.
ask() {
  local file=$LOOK/$1
  shift
  if [ "$DRY_RUN" = yes ]; then
    shown "$@"
    : >"$file"
  elif ! "$@" >"$file" 2>"$LOOK/error"; then
    cat "$LOOK/error" >&2
    if grep -q 'PERMISSION_DENIED\|does not have permission\|403' "$LOOK/error"; then
      fail "You may not look there: ask an owner of project $PROJECT for the roles that docs/google-cloud.md names, and run this again. Nothing was changed by this step."
    fi
    fail "This could not be read: $(shown "$@"). Mend what it says above and run this again."
  fi
}

# run WHAT COMMAND…: do what changes something. What has to come on its standard input is in the file STDIN, if that is set.
run() {
  local what=$1 try=1 input=${STDIN:-/dev/null}
  shift
  CHANGES=$((CHANGES + 1))
  if [ "$DRY_RUN" = yes ]; then
    shown "$@"
    return
  fi
  say "  $what"
  until "$@" <"$input" >/dev/null 2>"$LOOK/error"; do
    if [ "$try" -ge "$TRIES" ] || ! grep -Eq "$PASSES" "$LOOK/error"; then
      cat "$LOOK/error" >&2
      fail "This did not work: $(shown "$@"). Mend what it says above and run the same again: what is done is kept."
    fi
    try=$((try + 1))
    sleep "$PAUSE"
  done
}

have() { grep -Fxq -- "$1" "$LOOK/facts"; }

# The rest of the first fact that begins so.
fact() { sed -n "s|^$1 ||p" "$LOOK/facts" | head -n 1; }

gather() {
  helper facts "$LOOK" >"$LOOK/facts" || fail "gcloud answered what this script does not understand: update it with \`gcloud components update\` and run this again."
}

check_tools() {
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || fail "Python 3.11 or newer is needed as python3: install it, and run this again."
  [ "$DRY_RUN" = yes ] || command -v gcloud >/dev/null || fail "gcloud is not there: install it (https://cloud.google.com/sdk/docs/install), run \`gcloud auth login\`, and run this again."
}

check_login() {
  ask login gcloud auth list --filter=status:ACTIVE --format='value(account)'
  [ "$DRY_RUN" = yes ] || [ -s "$LOOK/login" ] || fail "Nobody is logged in: run \`gcloud auth login\`, and run this again."
}
