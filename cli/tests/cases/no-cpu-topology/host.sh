#!/bin/bash
# p5en.48xlarge in a container whose runtime hides the CPUs' topology (online is there, cpuN/topology is not). Threads of a core are N and N+96 on this type.
bash "$(dirname "$0")/../p5en-fair-rails/host.sh" "$1"
