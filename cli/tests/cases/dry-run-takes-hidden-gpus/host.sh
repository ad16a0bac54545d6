#!/bin/bash
# p5en.48xlarge; the job was given GPUs 4 and 5 (CUDA_VISIBLE_DEVICES is set by whoever runs the command below).
bash "$(dirname "$0")/../p5en-fair-rails/host.sh" "$1"
