#!/usr/bin/env bash
# Deploys Longcall to App Engine without cutting a running call. docs/google-cloud.md
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=deploy/common.sh
source deploy/common.sh

usage() {
  cat <<'TEXT'
./deploy.sh                 deploy what is here as a new version, wait until it is ready, and route the queues to it
./deploy.sh --route V       route the queues and the web to version V, which is there: the way back too (--rollback V is the same)

  --version V    the new version's name (by default the time, like v20261124-101500)
  --no-route     deploy and wait, and leave the queues where they are
  --manual       deploy/app.manual.yaml instead of deploy/app.yaml: thousands of calls, on manual scaling
  --api          the API and the dashboard too, as a service of their own (deploy/app.api.yaml)
  --stage DIR    only put into DIR what would be uploaded
  --dry-run      print every command of a first deploy, one a line, and run none
TEXT
}

APP_YAML=deploy/app.yaml ENV_FILE=deploy/env.yaml
VERSION='' ROUTE=yes ONLY_ROUTE=no API=no STAGE=''
READY_WITHIN=${DEPLOY_READY_WITHIN:-300}

read_arguments() {
  while [ $# -gt 0 ]; do
    case $1 in
      --version | --route | --rollback | --stage) [ $# -gt 1 ] && [ -n "$2" ] || fail "$1 needs a value: ./deploy.sh --help says which." ;;
    esac
    case $1 in
      --version) VERSION=$2 && shift ;;
      --route | --rollback) VERSION=$2 ONLY_ROUTE=yes && shift ;;
      --stage) STAGE=$2 && shift ;;
      --no-route) ROUTE=no ;;
      --manual) APP_YAML=deploy/app.manual.yaml ;;
      --api) API=yes ;;
      --dry-run) DRY_RUN=yes ;;
      --help | -h) usage && exit 0 ;;
      *) fail "$1 is no option of this script: ./deploy.sh --help says which there are." ;;
    esac
    shift
  done
  VERSION=${VERSION:-$(date -u +v%Y%m%d-%H%M%S)}
  [[ $VERSION =~ ^[a-z][a-z0-9-]{0,61}[a-z0-9]$ && $VERSION != ah-* ]] || fail "--version is a lower-case letter followed by up to 62 letters, digits and hyphens, and does not begin with ah-."
}

# What setup-env.sh wrote says which project and which queues.
read_settings() {
  local queue control
  queue=$(helper setting "$ENV_FILE" LONGCALL_QUEUE) || exit 1
  control=$(helper setting "$ENV_FILE" LONGCALL_CONTROL_QUEUE) || exit 1
  IFS=/ read -r _ PROJECT _ REGION _ QUEUE <<<"$queue"
  CONTROL=${control##*/}
  RUNNER=longcall-runner@$PROJECT.iam.gserviceaccount.com
}

check_lock() {
  local stale
  stale=$(helper lock pyproject.toml requirements.txt) || exit 1
  [ -z "$stale" ] || fail "requirements.txt is not the current lock: run \`make lock\`, and deploy again; pyproject.toml also asks for $(printf '%s' "$stale" | tr '\n' ' ')"
  [ -f deploy/firestore.indexes.json ] && [ -f src/longcall/__main__.py ] || fail "This is not the whole source of Longcall: deploy from a checkout of the repository."
}

look() {
  check_login
  ask app.json gcloud app describe --project="$PROJECT" --format=json
  ask queues.json gcloud tasks queues list --location="$REGION" --project="$PROJECT" --format=json
  ask appservices.json gcloud app services list --project="$PROJECT" --format=json
  gather
  if [ "$DRY_RUN" = yes ]; then
    SERVICE=default OLD=''
    return
  fi
  [ "$(fact app)" = "$REGION" ] || fail "The App Engine app of $PROJECT is in $(fact app), and $ENV_FILE names queues in $REGION: run ./setup-env.sh again with --region $(fact app)."
  local each
  for each in "$QUEUE" "$CONTROL"; do
    have "queue $each" || fail "Queue $each is not there: run ./setup-env.sh first, it makes what is missing."
  done
  SERVICE=$(fact "route $QUEUE")
  [ -n "$SERVICE" ] || fail "Queue $QUEUE routes to no service: run ./setup-env.sh with --update-queues first."
  OLD=$(fact "routeversion $QUEUE")
  [ "$SERVICE" = default ] || have "appservice default" || fail "The first service of an App Engine app must be \`default\`: deploy one first, or run ./setup-env.sh with --service default --update-queues."
  if have "appservice $SERVICE"; then
    ask versions gcloud app versions list --service="$SERVICE" --project="$PROJECT" --format='value(version.id)'
  else
    : >"$LOOK/versions"
  fi
}

check_version() {
  [ "$DRY_RUN" = yes ] && return
  if [ "$ONLY_ROUTE" = yes ]; then
    grep -Fxq -- "$VERSION" "$LOOK/versions" || fail "Service $SERVICE has no version $VERSION: it has $(tr '\n' ' ' <"$LOOK/versions")"
  else
    ! grep -Fxq -- "$VERSION" "$LOOK/versions" || fail "Service $SERVICE has a version $VERSION already, which may hold calls: choose another name with --version."
  fi
}

# More dispatches at once than all instances take would fail, and slow the whole queue down.
check_room() {
  local calls callbacks
  read -r calls callbacks <<<"$ROOM"
  if [ "$DRY_RUN" = yes ] || [ "$calls" = unlimited ]; then
    return
  fi
  [ "$(fact "concurrency $QUEUE")" -le "$calls" ] || fail "Queue $QUEUE dispatches up to $(fact "concurrency $QUEUE") tasks at once, and $APP_YAML has room for $calls: raise max_instances there, or lower it with \`gcloud tasks queues update $QUEUE --location=$REGION --project=$PROJECT --max-concurrent-dispatches=$((calls / 2))\`."
  [ "$(fact "concurrency $CONTROL")" -le "$((calls + callbacks))" ] || fail "Queue $CONTROL dispatches more at once than $APP_YAML has room for: run ./setup-env.sh with --update-queues."
}

# stage DIR APP_YAML SERVICE [NAME=VALUE]: what App Engine gets, and nothing else.
stage() {
  local into=$1 from=$2 service=$3
  shift 3
  mkdir -p "$into"
  [ -z "$(ls -A "$into")" ] || fail "$into is not empty: name a folder that is not there yet."
  cp -R src requirements.txt "$into"
  find "$into" -name __pycache__ -prune -exec rm -rf {} +
  helper app-yaml "$from" "$ENV_FILE" "$service" "$RUNNER" "$@" >"$into/app.yaml" || exit 1
}

# upload DIR SERVICE: a version that nothing is routed to yet, and wait until it answers. Its address is in URL then.
upload() {
  local folder=$1 service=$2
  say "Deploying version $VERSION of service $service (some minutes)"
  run "upload and build" gcloud app deploy "$folder/app.yaml" --project="$PROJECT" --version="$VERSION" --no-promote
  find_url "$service"
  if [ "$DRY_RUN" = no ] && ! helper ready "$URL/readyz" "$READY_WITHIN" >/dev/null; then
    fail "Version $VERSION is there and not ready; nothing is routed to it, and ${OLD:-nothing} runs on. See \`gcloud app logs read --service=$service --version=$VERSION --project=$PROJECT\`, then \`gcloud app versions delete $VERSION --service=$service --project=$PROJECT\`."
  fi
}

find_url() {
  ask url gcloud app versions describe "$VERSION" --service="$1" --project="$PROJECT" --format='value(versionUrl)'
  URL=$(cat "$LOOK/url")
}

# The control queue first: what comes back of the old version's calls is settled by either.
route() {
  local each
  for each in "$CONTROL" "$QUEUE"; do
    run "queue $each routes to $VERSION" gcloud tasks queues update "$each" --location="$REGION" --project="$PROJECT" --routing-override="service:$SERVICE,version:$VERSION"
  done
  traffic "$SERVICE"
}

traffic() {
  run "the web goes to $VERSION of service $1" gcloud app services set-traffic "$1" --splits="$VERSION=1" --project="$PROJECT"
}

about_old() {
  [ -n "$OLD" ] && [ "$OLD" != "$VERSION" ] && [ "$DRY_RUN" = no ] || return 0
  local instances calls=
  ask instances gcloud app instances list --service="$SERVICE" --version="$OLD" --project="$PROJECT" --format='value(id)'
  instances=$(grep -c . "$LOOK/instances" || true)
  say ""
  if [ "$instances" -eq 0 ]; then
    say "Version $OLD has no instance any more, so it holds nothing. Remove it:"
  else
    [ -z "${LONGCALL_TOKEN:-}" ] || calls=$(printf '%s\n' "$LONGCALL_TOKEN" | helper running "$URL")
    say "Version $OLD has $instances instances and gets nothing new. What it holds${calls:+ (at most $calls calls)} goes on there, until $(helper until) at the latest. Remove it then:"
  fi
  say "  gcloud app versions delete $OLD --service=$SERVICE --project=$PROJECT"
  say "The way back: ./deploy.sh --rollback $OLD"
}

first_command() {
  [ "$DRY_RUN" = no ] || return 0
  local url
  url=$(helper setting "$ENV_FILE" LONGCALL_PUBLIC_URL)
  [ "$API" = no ] || url=$API_URL
  say ""
  say "Longcall is at $url. A first call, with the token that ./setup-env.sh showed:"
  say "  curl -s $url/v1/tasks -H \"Authorization: Bearer \$LONGCALL_TOKEN\" -H 'Content-Type: application/json' -d '{\"id\": \"first\", \"httpRequest\": {\"url\": \"https://example.com/\", \"httpMethod\": \"GET\"}}'"
  say "  curl -s '$url/v1/tasks/first?wait=60s' -H \"Authorization: Bearer \$LONGCALL_TOKEN\""
}

deploy() {
  local more=()
  API_URL=https://longcall-api-dot-$(fact hostname)
  [ "$API" = no ] || more=("LONGCALL_PUBLIC_URL=$API_URL")
  stage "$LOOK/runner" "$APP_YAML" "$SERVICE" ${more[@]+"${more[@]}"}
  [ "$API" = no ] || stage "$LOOK/api" deploy/app.api.yaml longcall-api "${more[@]}"
  upload "$LOOK/runner" "$SERVICE"
  [ "$API" = no ] || upload "$LOOK/api" longcall-api
  if [ "$ROUTE" = no ]; then
    [ "$DRY_RUN" = yes ] || say "Version $VERSION is ready at $URL, and nothing is routed to it. Route it: ./deploy.sh --route $VERSION"
    return
  fi
  route
  [ "$API" = no ] || traffic longcall-api
  first_command
  about_old
}

main() {
  read_arguments "$@"
  trap 'rm -rf "$LOOK"' EXIT
  trap 'exit 130' INT TERM
  check_tools
  read_settings
  check_lock
  ROOM=$(helper room "$APP_YAML") || exit 1
  if [ -n "$STAGE" ]; then
    stage "$STAGE" "$APP_YAML" default
    exit 0
  fi
  look
  check_version
  if [ "$ONLY_ROUTE" = yes ]; then
    find_url "$SERVICE"
    [ "$DRY_RUN" = yes ] || helper ready "$URL/readyz" "$READY_WITHIN" >/dev/null || fail "Version $VERSION is not ready, so nothing was changed: ${OLD:-nothing} stays where the queues route to."
    route
    about_old
    return
  fi
  check_room
  deploy
}

main "$@"
