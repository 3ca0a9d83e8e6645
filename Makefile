# Everything by one command, on a bare Debian machine with cargo: 'make help' lists them.
# What is built, is built with the release profile, so that RocksDB is compiled once.

SHELL := /bin/bash
CARGO ?= cargo
# A directory of your own for the demo, instead of media that it makes.
MEDIA ?=

kogia := $(or $(CARGO_TARGET_DIR),target)/release/kogia
crash := $(or $(CARGO_TARGET_DIR),target)/release/kogia-crash
build_packages := g++ libclang-dev

.DEFAULT_GOAL := help
.PHONY: help demo test test-full crash crash-full

help: ## Show what can be made
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

demo: ## Store media, kill the import, check everything; MEDIA=DIR takes your own
	@tools/demo/packages.sh $(build_packages) ffmpeg
	$(CARGO) build --release --locked --bin kogia
	@tools/demo/run.sh "$(kogia)" "$(MEDIA)"

test: ## Run all tests
	@tools/demo/packages.sh $(build_packages)
	$(CARGO) test --release --locked --workspace

test-full: ## Fill file systems to the last byte; as root, where loop devices can be mounted
	@tools/demo/packages.sh $(build_packages) e2fsprogs xfsprogs btrfs-progs
	tests/full-disk.sh

crash: ## Cut the power, fail calls and let files rot under workloads: a few minutes
	@tools/demo/packages.sh $(build_packages)
	$(CARGO) build --release --locked --bin kogia-crash
	$(crash) run --world sim --states 250
	$(crash) run --world errors --states 40
	$(crash) run --world bitrot --states 250

crash-full: crash ## The same with every call and every byte: hours
	$(crash) run --world sim --states 40000
	$(crash) run --world errors --states 100000
	$(crash) run --world bitrot --states 10000000 --workload small-puts,parts,compaction,rebuild
