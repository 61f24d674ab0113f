#!/bin/bash
# Pretraining, embedding and training on two nodes with eight GPUs each. The other stages run on the first node alone.
# The checkout, the environment and the data lie on a file system that all nodes see. Submit this file from the checkout.
#SBATCH --job-name=few-labels
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=12
#SBATCH --time=24:00:00
#SBATCH --signal=USR1@300
#SBATCH --requeue

# srun starts one process for each GPU. They find each other by the variables that it sets. Five minutes before the time is
# over all of them get SIGUSR1: a training saves and ends with one line, embed ends and keeps the shards that are done. The
# next job goes on from there. The processes also use gloo: if a node's own name leads to 127.0.1.1, set GLOO_SOCKET_IFNAME
# to its network interface.
export LAUNCH="srun --cpus-per-task=$SLURM_CPUS_PER_TASK --kill-on-bad-exit=1 python"
export OMP_NUM_THREADS=$SLURM_CPUS_PER_TASK
source .venv/bin/activate

dvc repro || {
    echo "not done: submit the same script again; it goes on from what was saved"
    exit 1
}
