#!/bin/bash
set -eu
mkdir -p "$1"
