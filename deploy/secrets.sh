#!/usr/bin/env bash
# Makes the secrets of a deployment, once: files in deploy/secrets that git does not see.
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
random >secrets/redis_password
random >secrets/ray_token
key=$(random)
printf %s tuner >secrets/aws_access_key_id
printf %s "$key" >secrets/aws_secret_access_key
printf '[default]\naws_access_key_id = tuner\naws_secret_access_key = %s\n' "$key" >secrets/s3_credentials
# MLflow's users: `tuner`, whom the first start makes, and those that he adds. They see what he lets them.
key=$(random)
random >secrets/mlflow_session_key
printf '[mlflow]\nmlflow_tracking_username = tuner\nmlflow_tracking_password = %s\n' "$key" >secrets/mlflow_credentials
cat >secrets/mlflow_auth.ini <<END
[mlflow]
default_permission = NO_PERMISSIONS
database_uri = postgresql+psycopg://tuner:$password@postgres/mlflow
admin_username = tuner
admin_password = $key
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
END
chmod 644 secrets/*  # the folder is closed; in a container another user reads them
