#!/bin/bash
# Trains for a study of a service, eight trainings at a time: sbatch slurm-array.sh STUDY
#SBATCH --job-name=tuner
#SBATCH --array=0-7
#SBATCH --gpus=1
#SBATCH --time=12:00:00
#SBATCH --requeue
#SBATCH --signal=B:TERM@60
set -euo pipefail

study=${1:?the id of the study: tuner tune --submit-to URL -- COMMAND prints it}
: "${TUNER_URL:?of the service}" "${TUNER_API_KEY:?a key of the service}"
export TUNER_HOME=${TUNER_HOME:-$PWD/.tuner}  # shared: a training goes on from its checkpoints

# A task that is requeued has its name again, and with it its training.
exec tuner agent "$TUNER_URL" "$study" \
  --name "slurm-$SLURM_ARRAY_JOB_ID-$SLURM_ARRAY_TASK_ID" \
  -- python train.py --lam '{strength}' --seed '{seed}' --out '{out}'
