#!/usr/bin/env bash
# Makes in a Google Cloud project what Longcall needs there. Run it once; run again, it changes nothing. docs/google-cloud.md
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=deploy/common.sh
source deploy/common.sh

usage() {
  cat <<'TEXT'
./setup-env.sh --project P --region R     make what Longcall needs in project P, in region R (like us-central1)

  --dry-run              print every command it would run in an empty project, one a line, and run none
  --yes                  go on without asking, also where something cannot be undone
  --service NAME         the App Engine service (found out by itself: `longcall`, or `default` in an app without one)
  --queue NAME           the queue of calls (longcall)
  --control-queue NAME   the queue of callbacks and looks (longcall-control)
  --update-queues        give queues that exist our settings, where they have others
  --database NAME        the Firestore database (longcall)
  --bucket NAME          the bucket for large bodies (P-longcall)
  --retention DAYS       how long ended tasks are kept (30)
TEXT
}

PROJECT='' REGION='' YES=no UPDATE_QUEUES=no
SERVICE='' QUEUE=longcall CONTROL=longcall-control DATABASE=longcall BUCKET='' DAYS=30
ENV_FILE=deploy/env.yaml LIFECYCLE_FILE=deploy/lifecycle.json
TOKEN=''

SERVICES=(appengine cloudbuild cloudtasks firestore iam iamcredentials secretmanager storage cloudtrace logging telemetry)

read_arguments() {
  while [ $# -gt 0 ]; do
    case $1 in
      --project | --region | --service | --queue | --control-queue | --database | --bucket | --retention)
        [ $# -gt 1 ] && [ -n "$2" ] || fail "$1 needs a value: ./setup-env.sh --help says which."
        ;;
    esac
    case $1 in
      --project) PROJECT=$2 && shift ;;
      --region) REGION=$2 && shift ;;
      --service) SERVICE=$2 && shift ;;
      --queue) QUEUE=$2 && shift ;;
      --control-queue) CONTROL=$2 && shift ;;
      --database) DATABASE=$2 && shift ;;
      --bucket) BUCKET=$2 && shift ;;
      --retention) DAYS=$2 && shift ;;
      --dry-run) DRY_RUN=yes ;;
      --yes) YES=yes ;;
      --update-queues) UPDATE_QUEUES=yes ;;
      --help | -h) usage && exit 0 ;;
      *) fail "$1 is no option of this script: ./setup-env.sh --help says which there are." ;;
    esac
    shift
  done
  [[ $PROJECT =~ ^[a-z][a-z0-9-]{4,28}[a-z0-9]$ ]] || fail "--project is missing, or is no project id (6 to 30 lower-case letters, digits and hyphens): \`gcloud projects list\` names yours."
  case $REGION in us-central | europe-west) REGION=${REGION}1 ;; esac
  [[ $REGION =~ ^[a-z]+-[a-z]+[0-9]+$ ]] || fail "--region is missing, or is no region like us-central1: choose the one nearest to the services you call."
  [[ $DAYS =~ ^[0-9]{1,4}$ && $DAYS -ge 2 ]] || fail "--retention is a whole number of days, 2 at least: 30 keeps ended tasks for a month."
  [[ $QUEUE =~ ^[A-Za-z0-9-]{1,100}$ && $CONTROL =~ ^[A-Za-z0-9-]{1,100}$ && $QUEUE != "$CONTROL" ]] || fail "--queue and --control-queue are two different names of letters, digits and hyphens: leave them out for longcall and longcall-control."
  [ -z "$SERVICE" ] || [[ $SERVICE =~ ^[a-z0-9][a-z0-9-]{0,62}$ ]] || fail "--service is a name of lower-case letters, digits and hyphens: leave it out to have it found."
  BUCKET=${BUCKET:-$PROJECT-longcall}
  RUNNER=longcall-runner@$PROJECT.iam.gserviceaccount.com
  CALLER=longcall-caller@$PROJECT.iam.gserviceaccount.com
}

# Looking. Nothing here changes anything.

enabled() { [ "$DRY_RUN" = yes ] || have "service $1.googleapis.com"; }

look_at_project() {
  check_login
  ask project.json gcloud projects describe "$PROJECT" --format=json
  ask billing.json gcloud billing projects describe "$PROJECT" --format=json
  ask services.json gcloud services list --enabled --project="$PROJECT" --format=json
  gather
  if [ "$DRY_RUN" = yes ]; then
    shown gcloud auth print-access-token
    return
  fi
  have "project ACTIVE" || fail "Project $PROJECT is not active: restore it with \`gcloud projects undelete $PROJECT\`, or use another one."
  have "billing on" || fail "Project $PROJECT has no billing account that pays, which App Engine and Cloud Tasks need: link one with \`gcloud billing projects link $PROJECT --billing-account=ACCOUNT\`."
  look_at_permissions
}

look_at_permissions() {
  local missing
  if ! missing=$(gcloud auth print-access-token 2>/dev/null | helper permissions "$PROJECT"); then
    say "  (going on; a command that is not allowed will say so)"
  elif [ -n "$missing" ]; then
    fail "You may not do what this needs in project $PROJECT: ask an owner for the roles that docs/google-cloud.md names; missing are $(printf '%s' "$missing" | tr '\n' ' ')"
  fi
}

look_at_app() {
  enabled appengine || return 0
  if [ "$DRY_RUN" = yes ]; then
    ask app.json gcloud app describe --project="$PROJECT" --format=json
  elif ! gcloud app describe --project="$PROJECT" --format=json >"$LOOK/app.json" 2>"$LOOK/error"; then
    : >"$LOOK/app.json"
    if ! grep -q 'does not contain an App Engine application' "$LOOK/error"; then
      cat "$LOOK/error" >&2
      fail "The App Engine app of $PROJECT could not be looked at: mend what it says above and run this again."
    fi
  fi
  if [ -s "$LOOK/app.json" ]; then
    ask appservices.json gcloud app services list --project="$PROJECT" --format=json
  else
    ask regions.json gcloud app regions list --project="$PROJECT" --format=json
  fi
}

look_at_parts() {
  look_at_app
  if enabled iam; then
    ask accounts.json gcloud iam service-accounts list --project="$PROJECT" --format=json
    ask policy+project.json gcloud projects get-iam-policy "$PROJECT" --format=json
  fi
  ! enabled cloudtasks || ask queues.json gcloud tasks queues list --location="$REGION" --project="$PROJECT" --format=json
  ! enabled firestore || ask databases.json gcloud firestore databases list --project="$PROJECT" --format=json
  ! enabled storage || ask buckets.json gcloud storage buckets list --project="$PROJECT" --raw --format=json
  ! enabled secretmanager || ask secrets.json gcloud secrets list --project="$PROJECT" --format=json
  gather
  look_inside
  gather
}

# What can be asked only of what is there.
look_inside() {
  local each
  for each in "$RUNNER" "$CALLER"; do
    ! have "account $each" || ask "policy+$each.json" gcloud iam service-accounts get-iam-policy "$each" --project="$PROJECT" --format=json
  done
  for each in "$QUEUE" "$CONTROL"; do
    ! have "queue $each" || ask "policy+$each.json" gcloud tasks queues get-iam-policy "$each" --location="$REGION" --project="$PROJECT" --format=json
  done
  if [ -n "$(fact "database $DATABASE")" ]; then
    ask composite.json gcloud firestore indexes composite list --database="$DATABASE" --project="$PROJECT" --format=json
    ask fields.json gcloud firestore indexes fields list --database="$DATABASE" --project="$PROJECT" --format=json
    ask ttls.json gcloud firestore fields ttls list --database="$DATABASE" --project="$PROJECT" --format=json
  fi
  ! have "bucket $BUCKET" || ask "policy+bucket.json" gcloud storage buckets get-iam-policy "gs://$BUCKET" --project="$PROJECT" --format=json
  for each in longcall-webhook-secret longcall-tokens; do
    if have "secret $each"; then
      ask "versions+$each.json" gcloud secrets versions list "$each" --project="$PROJECT" --format=json
      ask "policy+$each.json" gcloud secrets get-iam-policy "$each" --project="$PROJECT" --format=json
    fi
  done
}

# What does not fit is said before anything is changed.

check() {
  read -r CALLS CALLBACKS <<<"$(helper room deploy/app.yaml)"
  CALLS=$((CALLS / 2)) CALLBACKS=$((CALLBACKS / 2))
  LIFECYCLE=$(helper lifecycle $((DAYS + 60)))
  choose_service
  check_app
  check_queue "$QUEUE" "$CALLS"
  check_queue "$CONTROL" "$CALLBACKS"
  case $(fact "database $DATABASE") in
    '' | FIRESTORE_NATIVE) ;;
    *) fail "Database $DATABASE is a Datastore one, and Longcall speaks Firestore: run again with --database and a name of its own." ;;
  esac
}

check_app() {
  local found
  found=$(fact app)
  [ -z "$found" ] || [ "$found" = "$REGION" ] || fail "The App Engine app of $PROJECT is in $found and cannot be moved, and its queues must be there too: run again with --region $found, or use another project."
  case $(fact serving) in
    '' | SERVING) ;;
    *) fail "The App Engine app of $PROJECT is disabled: enable it in the settings of App Engine in Google's console, and run this again." ;;
  esac
  [ -n "$found" ] || [ -z "$(fact region)" ] || have "region $REGION" || fail "App Engine has no region $REGION: \`gcloud app regions list\` names those it has."
}

# Longcall is the service that its queue routes to; else `longcall`, or `default` where nothing else is.
choose_service() {
  local routed
  routed=$(fact "route $QUEUE")
  [ -n "$SERVICE" ] || SERVICE=${routed:-$(have "appservice default" && echo longcall || echo default)}
  if [ -z "$routed" ] && [ "$DRY_RUN" = no ] && [ "$SERVICE" != default ] && ! have "appservice default"; then
    fail "The first service of an App Engine app must be \`default\`: run again without --service, or deploy a service named default first."
  fi
}

check_queue() {
  local queue=$1 concurrency=$2 now
  have "queue $queue" || return 0
  ! have "http $queue" || fail "Queue $queue sends its tasks to an HTTP address of its own: run again with --queue or --control-queue and another name."
  [ "$UPDATE_QUEUES" = no ] || return 0
  now=$(fact "route $queue")
  [ "$now" = "$SERVICE" ] || fail "Queue $queue routes to ${now:-no service}, not to $SERVICE: run again with --update-queues to change it, or with another name for the queue."
  have "retry $queue -1 1 30 5 0" || fail "Queue $queue has other retry settings than Longcall needs (unlimited attempts, no longest duration, backoff 1 s to 30 s, 5 doublings): run again with --update-queues to change them, or with another name for the queue."
  now=$(fact "concurrency $queue")
  [ "$now" -le "$concurrency" ] || fail "Queue $queue dispatches up to $now tasks at once, and two versions of the instances in deploy/app.yaml have room for $concurrency: run again with --update-queues to lower it, or raise max_instances there."
}

# Asking. The last moment at which nothing has been changed.

confirm() {
  [ -z "$(fact app)" ] && [ "$YES" = no ] && [ "$DRY_RUN" = no ] || return 0
  say "Project $PROJECT has no App Engine app. One is made in $REGION. This cannot be undone: an app cannot be moved to another region or deleted, but with its project."
  printf 'Make it? [y/N] ' >&2
  local answer=
  read -r answer || true
  case $answer in
    y | Y | yes) ;;
    *) fail "Nothing was changed. Run again and answer y, or with --yes, when the project and the region are the right ones." ;;
  esac
}

# Changing. Each step does what is not there yet.

enable_services() {
  local each missing=()
  for each in "${SERVICES[@]}"; do
    [ "$DRY_RUN" = no ] && enabled "$each" || missing+=("$each.googleapis.com")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  run "services: ${missing[*]} (a minute or two)" gcloud services enable "${missing[@]}" --project="$PROJECT"
  [ "$DRY_RUN" = yes ] && return
  ask services.json gcloud services list --enabled --project="$PROJECT" --format=json
  gather
  look_at_parts
  check
}

make_app() {
  local location=$REGION
  case $REGION in us-central1 | europe-west1) location=${REGION%1} ;; esac
  [ -n "$(fact app)" ] || run "App Engine app in $REGION" gcloud app create --region="$location" --project="$PROJECT"
  # Its hostname is known only now.
  ask app.json gcloud app describe --project="$PROJECT" --format=json
  gather
}

make_accounts() {
  have "account $RUNNER" || run "service account longcall-runner, who the runner is" gcloud iam service-accounts create longcall-runner --display-name="Longcall runner" --project="$PROJECT"
  have "account $CALLER" || run "service account longcall-caller, who targets are called as" gcloud iam service-accounts create longcall-caller --display-name="Called by Longcall" --project="$PROJECT"
  local only="resource.name==\"projects/$PROJECT/databases/$DATABASE\"" role
  have "bind project serviceAccount:$RUNNER roles/datastore.user $only" || run "role datastore.user for the runner, on database $DATABASE alone" gcloud projects add-iam-policy-binding "$PROJECT" --member="serviceAccount:$RUNNER" --role=roles/datastore.user --condition="expression=$only,title=longcall-$DATABASE"
  for role in appengine.appViewer logging.logWriter cloudtrace.agent telemetry.tracesWriter telemetry.metricsWriter; do
    have "bind project serviceAccount:$RUNNER roles/$role" || run "role $role for the runner" gcloud projects add-iam-policy-binding "$PROJECT" --member="serviceAccount:$RUNNER" --role="roles/$role" --condition=None
  done
  # It signs links to bodies as itself, and mints the tokens of those it calls as.
  for role in "$RUNNER" "$CALLER"; do
    have "bind $role serviceAccount:$RUNNER roles/iam.serviceAccountTokenCreator" || run "the runner may sign and mint tokens as ${role%%@*}" gcloud iam service-accounts add-iam-policy-binding "$role" --member="serviceAccount:$RUNNER" --role=roles/iam.serviceAccountTokenCreator --condition=None --project="$PROJECT"
  done
}

make_queue() {
  local queue=$1 concurrency=$2 role verb=create what="queue $1" route="service:$SERVICE" version
  if have "queue $queue"; then
    verb=update what="settings of queue $queue"
    version=$(fact "routeversion $queue")
    [ -z "$version" ] || [ "$(fact "route $queue")" != "$SERVICE" ] || route+=",version:$version"
  fi
  if ! have "queue $queue" || ! have "retry $queue -1 1 30 5 0" || ! have "route $queue $SERVICE" || [ "$(fact "concurrency $queue")" -gt "$concurrency" ]; then
    run "$what" gcloud tasks queues "$verb" "$queue" --location="$REGION" --project="$PROJECT" --max-attempts=unlimited --max-retry-duration=0s --min-backoff=1s --max-backoff=30s --max-doublings=5 --max-concurrent-dispatches="$concurrency" --routing-override="$route"
  fi
  for role in enqueuer viewer; do
    have "bind $queue serviceAccount:$RUNNER roles/cloudtasks.$role" || run "role cloudtasks.$role for the runner, on queue $queue" gcloud tasks queues add-iam-policy-binding "$queue" --location="$REGION" --project="$PROJECT" --member="serviceAccount:$RUNNER" --role="roles/cloudtasks.$role"
  done
}

make_database() {
  [ -n "$(fact "database $DATABASE")" ] || run "Firestore database $DATABASE in $REGION" gcloud firestore databases create --database="$DATABASE" --location="$REGION" --type=firestore-native --delete-protection --project="$PROJECT"
  local wanted words command
  helper indexes deploy/firestore.indexes.json >"$LOOK/indexes"
  while IFS=$'\t' read -r wanted words; do
    read -r -a command <<<"$words"
    have "$wanted" || run "$wanted" gcloud firestore "${command[@]}" --database="$DATABASE" --project="$PROJECT" --async
  done <"$LOOK/indexes"
}

# A body is as old as its task: 28 days for its scheduleTime and a month of attempts come before its retention begins.
make_bucket() {
  [ "$DRY_RUN" = yes ] || helper lifecycle $((DAYS + 60)) "$LIFECYCLE_FILE" >/dev/null
  if ! have "bucket $BUCKET"; then
    run "bucket $BUCKET, whose objects go after $((DAYS + 60)) days" gcloud storage buckets create "gs://$BUCKET" --project="$PROJECT" --location="$REGION" --uniform-bucket-level-access --public-access-prevention --soft-delete-duration=0 --lifecycle-file="$LIFECYCLE_FILE"
  elif ! have "lifecycle $BUCKET $LIFECYCLE"; then
    run "lifecycle of bucket $BUCKET: $((DAYS + 60)) days" gcloud storage buckets update "gs://$BUCKET" --lifecycle-file="$LIFECYCLE_FILE" --project="$PROJECT"
  fi
  have "bind bucket serviceAccount:$RUNNER roles/storage.objectUser" || run "role storage.objectUser for the runner, on the bucket" gcloud storage buckets add-iam-policy-binding "gs://$BUCKET" --member="serviceAccount:$RUNNER" --role=roles/storage.objectUser --project="$PROJECT"
}

# make_secret NAME FILE: its value goes by standard input, never as an argument.
make_secret() {
  local secret=$1
  if ! have "secret $secret"; then
    STDIN=$2 run "secret $secret" gcloud secrets create "$secret" --project="$PROJECT" --replication-policy=user-managed --locations="$REGION" --data-file=-
  elif ! have "value $secret"; then
    STDIN=$2 run "a value of secret $secret" gcloud secrets versions add "$secret" --project="$PROJECT" --data-file=-
  fi
  have "bind $secret serviceAccount:$RUNNER roles/secretmanager.secretAccessor" || run "role secretmanager.secretAccessor for the runner, on $secret" gcloud secrets add-iam-policy-binding "$secret" --project="$PROJECT" --member="serviceAccount:$RUNNER" --role=roles/secretmanager.secretAccessor
}

make_secrets() {
  local made
  [ "$DRY_RUN" = yes ] || helper webhook-secret | tr -d '\n' >"$LOOK/webhook"
  make_secret longcall-webhook-secret "$LOOK/webhook"
  if [ "$DRY_RUN" = no ] && ! have "value longcall-tokens"; then
    made=$(helper token operator)
    TOKEN=${made%%$'\n'*}
    printf '%s' "${made#*$'\n'}" >"$LOOK/entry"
  fi
  make_secret longcall-tokens "$LOOK/entry"
}

write_settings() {
  local host queues=projects/$PROJECT/locations/$REGION/queues written
  host=$(fact hostname)
  [ "$SERVICE" = default ] || host=$SERVICE-dot-$host
  [ "$DRY_RUN" = yes ] && return
  written=$(helper env "$ENV_FILE" \
    "LONGCALL_STORE=firestore://$PROJECT/$DATABASE" \
    "LONGCALL_BODIES=gs://$BUCKET/bodies" \
    "LONGCALL_QUEUE=$queues/$QUEUE" \
    "LONGCALL_CONTROL_QUEUE=$queues/$CONTROL" \
    "LONGCALL_QUEUE_ENDPOINT=" \
    "LONGCALL_PUBLIC_URL=https://$host" \
    "LONGCALL_AUTH=token" \
    "LONGCALL_TOKENS=sm://longcall-tokens" \
    "LONGCALL_WEBHOOK_SECRETS=sm://longcall-webhook-secret" \
    "LONGCALL_IMPERSONATE=$CALLER" \
    "LONGCALL_RETENTION=${DAYS}d")
  [ -z "$written" ] || say "  $ENV_FILE (not a change of the project)"
}

finish() {
  local how=$?
  if [ -n "$TOKEN" ]; then
    say ""
    say "The API token, shown only this once (Secret Manager has its SHA-256 alone$([ "$how" -eq 0 ] || echo ', and that only if secret longcall-tokens was made')):"
    printf '%s\n' "$TOKEN"
  fi
  rm -rf "$LOOK"
}

closing_words() {
  [ "$DRY_RUN" = yes ] && return
  if [ "$CHANGES" -eq 0 ]; then
    say "Nothing had to be changed in project $PROJECT."
  else
    say "Done: $CHANGES changes in project $PROJECT. Firestore takes some minutes more to make its indexes."
  fi
  say "Next: ./deploy.sh. A Cloud Run service lets Longcall in by"
  say "  gcloud run services add-iam-policy-binding NAME --region=$REGION --project=$PROJECT --member=serviceAccount:$CALLER --role=roles/run.invoker"
}

main() {
  read_arguments "$@"
  trap finish EXIT
  trap 'exit 130' INT TERM
  check_tools
  look_at_project
  look_at_parts
  check
  confirm
  enable_services
  make_app
  make_accounts
  make_queue "$QUEUE" "$CALLS"
  make_queue "$CONTROL" "$CALLBACKS"
  make_database
  make_bucket
  make_secrets
  write_settings
  closing_words
}

main "$@"
