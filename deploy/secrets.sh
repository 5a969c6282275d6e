#!/usr/bin/env bash
# Makes the secrets that compose.yaml reads, once: files in deploy/secrets that git does not see.
set -euo pipefail
cd "$(dirname "$0")"
mkdir -p secrets
chmod 700 secrets
if [ -e secrets/postgres_password ]; then
    echo "deploy/secrets is there already" >&2
    exit 0
fi
password=$(python3 -c 'import secrets; print(secrets.token_hex(24))')
printf %s "$password" >secrets/postgres_password
printf %s "postgresql+psycopg://tuner:$password@postgres/tuner" >secrets/tuner_database_url
chmod 644 secrets/*  # the folder is closed; in a container another user reads them
