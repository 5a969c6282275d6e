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
random() { python3 -c 'import secrets; print(secrets.token_hex(32), end="")'; }
password=$(random)
printf %s "$password" >secrets/postgres_password
for name in tuner mlflow; do
    printf %s "postgresql+psycopg://tuner:$password@postgres/$name" >"secrets/${name}_database_url"
done
random >secrets/ray_token
key=$(random)
printf %s "$key" >secrets/s3_password
printf '[default]\naws_access_key_id = tuner\naws_secret_access_key = %s\n' "$key" >secrets/s3_credentials
chmod 644 secrets/*  # the folder is closed; in a container another user reads them
