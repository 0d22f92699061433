#!/bin/sh
# Slurm adds what this prints to the environment of a job's tasks: the counts of --gres, as snrun and SambaFlow programs
# read them, and that they wait for a tile that another process is just giving back.
gres=$(scontrol show job "$SLURM_JOB_ID" | sed -n 's/.*TresPerNode=\([^ ]*\).*/\1/p' | sed 's/gres[:/]//g')
case "$gres" in
    *rdu*) echo "export SNC_GRES=$gres" ;;
esac
echo "export SNC_NODE_WAIT=60"
