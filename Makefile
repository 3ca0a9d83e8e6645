# Everything by one command, on a bare Debian machine with cargo: 'make help' lists them.
# What is built, is built with the release profile, so that RocksDB is compiled once.

SHELL := /bin/bash
CARGO ?= cargo
# A directory of your own for the demo, instead of media that it makes.
MEDIA ?=

target := $(or $(CARGO_TARGET_DIR),target)
kogia := $(target)/release/kogia
server := $(target)/release/kogia-server
crash := $(target)/release/kogia-crash
peers := $(target)/release/kogia-crash-peers
bench := $(target)/release/kogia-server-bench
bench_peers := $(target)/release/kogia-peers
build_packages := g++ libclang-dev
# Other engines, for comparison: nobody builds them who does not ask for it.
apart := --exclude kogia-crash-peers --exclude kogia-peers --exclude kogia-server-bench
# What is tested, though nobody has it who does not ask for it.
features := --features kogia/object_store
# Workloads that ask for nothing that a store of keys and values does not have.
peer_few := --workload plain --workload plain-upkeep --workload overwrites
peer_some := $(peer_few) --workload batches --workload deletes
peer_all := $(peer_some) --workload small-puts --workload large-puts --workload unsynced \
	--workload rolling
# One after the other: no engine is disturbed by what is done to another one's store. Status 1 says
# that something was lost, and that is what is asked here.
peer_run = for engine in kogia rocksdb redb fjall sled marble files; do \
		nice $(peers) run --threads 1 --engine $$engine $(1) || [ $$? -eq 1 ] || exit; \
	done
# Workloads of stores that the S3 server can carry out as well; those of its own are among all.
served := parts,conditions,streams,abandoned,plain
# Together with the programs, so that RocksDB is not compiled a second time with other features.
with_peers := -p kogia -p kogia-cli -p kogia-crash -p kogia-peers
# Where processes are killed, and nothing has to outlive the power.
shm := $(firstword $(wildcard /dev/shm) /tmp)

.DEFAULT_GOAL := help
.PHONY: help demo test test-java test-clients test-status test-full crash crash-full crash-faults \
	crash-disk crash-peers bench-server bench-peers bench-peers-short

help: ## Show what can be made
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 19

demo: ## Store media, kill the import, check everything; MEDIA=DIR takes your own
	@tools/demo/packages.sh $(build_packages) ffmpeg
	$(CARGO) build --release --locked --bin kogia
	@tools/demo/run.sh "$(kogia)" "$(MEDIA)"

test: ## Run all tests, but for those of Java
	@tools/demo/packages.sh $(build_packages)
	$(CARGO) test --release --locked --workspace $(apart) $(features)

test-java: ## Test the queue's Java classes, with a JDK of version 22 or later, or a Java from PyPI
	@tools/demo/packages.sh $(build_packages)
	$(CARGO) build --release --locked --lib
	@tools/capi/java/test.sh "$(target)/release/libkogia_queue.so" "$(target)/java"

test-full: ## Fill file systems to the last byte; as root, where loop devices can be mounted
	@tools/demo/packages.sh $(build_packages) e2fsprogs xfsprogs btrfs-progs
	tests/full-disk.sh

test-clients: ## Real S3 clients against the server: boto3, aws, aws-sdk-s3, s3cmd, s5cmd, obstore, rclone, restic
	@tools/demo/packages.sh $(build_packages) python3-venv curl ffmpeg openssl rclone restic
	$(CARGO) build --release --locked --bin kogia-server
	tools/server/tests/clients/run "$(server)"

test-status: ## The status page in a real browser; PICTURE=FILE takes a picture of it
	@tools/demo/packages.sh $(build_packages) python3-venv chromium
	$(CARGO) build --release --locked --bin kogia-server
	tools/server/tests/status/run "$(server)" $(PICTURE)

crash: ## Cut the power, fail calls and let files rot under workloads: a few minutes
	@tools/demo/packages.sh $(build_packages)
	$(CARGO) build --release --locked --bin kogia-crash
	$(crash) run --world sim --states 250
	$(crash) run --world errors --states 40
	$(crash) run --world bitrot --states 250
	TMPDIR=$(shm) $(crash) run --world kill --states 10
	TMPDIR=$(shm) $(crash) run --world kill --engine kogia-server --states 6 --workload $(served)

crash-full: crash ## The same with every call and every byte: hours
	$(crash) run --world sim --states 40000
	$(crash) run --world errors --states 100000
	$(crash) run --world bitrot --states 10000000 --workload small-puts,parts,compaction,rebuild
	TMPDIR=$(shm) $(crash) run --world kill --seed 2 --seeds 3 --states 120
	TMPDIR=$(shm) $(crash) run --world kill --engine kogia-server --seed 2 --seeds 3 --states 120 \
		--workload $(served)
	$(crash) run --world kill --seed 5 --states 60

crash-faults: ## Plant faults in Kogia, one at a time, and let the crash harness find each of them
	@tools/demo/packages.sh $(build_packages)
	CARGO="$(CARGO)" TMPDIR=$(shm) tools/harness/faults/run

crash-disk: ## Cut the power under ext4, xfs and btrfs, and let disks fail; as root, with loop devices and FUSE
	@tools/demo/packages.sh $(build_packages) fuse3 e2fsprogs xfsprogs btrfs-progs
	$(CARGO) build --release --locked --bin kogia-crash
	$(crash) run --world disk --states 300
	$(crash) run --world disk-xfs,disk-btrfs --states 80
	$(crash) run --world disk-errors,disk-errors-xfs,disk-errors-btrfs --states 60

crash-peers: ## Other engines under the same test, which find losses: half an hour; as root, as crash-disk
	@tools/demo/packages.sh $(build_packages) fuse3 e2fsprogs xfsprogs
	$(CARGO) build --release --locked -p kogia -p kogia-cli -p kogia-crash -p kogia-crash-peers
	export TMPDIR=$(shm); $(call peer_run,--world kill --states 100 $(peer_all))
	$(call peer_run,--world disk --states 40 $(peer_some))
	$(call peer_run,--world disk-xfs --states 20 $(peer_few))
	$(call peer_run,--world disk-errors --states 30 $(peer_few))

bench-server: ## The server beside SeaweedFS, Garage and s3s-fs, which it installs; FLAGS="--rounds 3"
	@tools/demo/packages.sh $(build_packages) python3-venv strace pkg-config libsodium-dev \
		libzstd-dev
	$(CARGO) build --release --locked --bin kogia-server
	$(CARGO) build --release --locked -p kogia-server-bench
	benches/server/run "$(bench)" "$(server)" $(FLAGS)

bench-peers: ## Other engines beside Kogia, and raw calls: hours; FLAGS="--only ingest --engines kogia,rocksdb"
	@tools/demo/packages.sh $(build_packages)
	$(CARGO) build --release --locked $(with_peers)
	$(CARGO) bench --locked $(with_peers) --bench queue >benches/peers/queue.txt
	$(bench_peers) run $(FLAGS)

bench-peers-short: ## The same once, and smaller: ten minutes
	@tools/demo/packages.sh $(build_packages)
	$(CARGO) build --release --locked $(with_peers)
	$(bench_peers) run --short $(FLAGS)
