#!/bin/sh
# Start munged, slurmctld and slurmd for a cluster of one simulated node in FOLDER, as the user who calls this.
#
#   examples/slurm/start.sh /tmp/slurm         start; prints how to use it
#   examples/slurm/start.sh /tmp/slurm stop    stop
#
# Needs Debian's packages slurm-wlm and munge. Nothing outside of FOLDER is touched.
set -e
FOLDER=$(mkdir -p "$1" && cd "$1" && pwd)
HERE=$(cd "$(dirname "$0")" && pwd)
PORT=${PORT:-16817}

if [ "$2" = stop ]; then
    for name in slurmctld.pid slurmd.pid munge/pid; do
        if [ -f "$FOLDER/$name" ]; then kill "$(cat "$FOLDER/$name")" || true; fi
    done
    exit 0
fi

mkdir -p "$FOLDER/munge" "$FOLDER/state" "$FOLDER/spool"
chmod 700 "$FOLDER/munge"
cp "$HERE/gres.conf" "$HERE/task_prolog.sh" "$FOLDER"
sed -e "s|@FOLDER@|$FOLDER|g" -e "s|@USER@|$(id -un)|g" -e "s|@PORT@|$PORT|g" -e "s|@SLURMD_PORT@|$((PORT + 1))|g" \
    -e "s|@CPUS@|$(nproc)|g" "$HERE/slurm.conf" > "$FOLDER/slurm.conf"
export SLURM_CONF="$FOLDER/slurm.conf"

(umask 077 && head -c 128 /dev/urandom > "$FOLDER/munge/key")
munged --force --key-file="$FOLDER/munge/key" --socket="$FOLDER/munge/socket" --pid-file="$FOLDER/munge/pid" \
    --log-file="$FOLDER/munge/log" --seed-file="$FOLDER/munge/seed"
slurmctld -c
slurmd -c -N sn30
echo "export SLURM_CONF=$SLURM_CONF"
