# make run     set-up if needed, build, run every scenario
# make test    everything that CI checks
# make help    the other targets and the variables

# Any build of Python 3.11 or newer with a shared libpython.
PYTHON ?= /usr/bin/python3
export PYTHON
export PYO3_PYTHON := $(PYTHON)

# More arguments for the harness: make run ARGS="-E 'tag(signals)' --jobs 1"
ARGS ?=

CARGO ?= cargo

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev build run test faults fuzz memcheck bench peer python engine generate pins clean

help:
	@sed -n 's/^##  *//p' $(MAKEFILE_LIST)

##  make run       set-up if needed, build, then run every scenario (ARGS="-E 'tag(signals)'" picks some)
##  make test      everything that CI checks: format, lints, unit tests, generated files, scenarios as root and as a user
##  make build     target/dist: the module, the engine for PYTHON, confgen, harness, the scenarios
##  make setup     install what is missing (asks before using sudo; SETUP=auto does not ask)
##  make faults    break things under load, for minutes: kill daemons, remove sockets, fill disks (FAULT_SECONDS=20)
##  make fuzz      fuzz every decoder (FUZZ_SECONDS=60 each)
##  make memcheck  serve 10 000 requests in four interpreters under valgrind, with each Python that is there
##  make setup-dev  what only developers need: gdb, valgrind, the load generator, fuzzers
##  make bench     measure against C mod_wsgi and the limits of the project; writes target/bench (BENCH_STRICT=1: all must be met)
##  make peer      install C mod_wsgi into target/peer, to compare with
##  make python    build another CPython: VERSION=3.13 [FREE_THREADED=1] [PYTHON_SRC=tarball PYTHON_SRC_SHA256=sum]
##  make engine    add its engine to target/dist: VERSION=3.13 [FREE_THREADED=1], or PYTHON=/path/to/python3.13
##  make generate  write the generated files anew (reference pages, schemas)
##  make pins      resolve the pinned Python packages of setup/requirements anew
##  make clean     remove target
##
##  PYTHON=/path/to/python3   a shared build of 3.11 or newer (default /usr/bin/python3)

setup:
	@setup/setup.sh

setup-dev:
	@setup/setup-dev.sh

faults: build
	@setup/faults.sh $(ARGS)

fuzz: setup-dev
	@setup/fuzz.sh $(ARGS)

memcheck: setup
	@setup/setup.sh --for-development
	@setup/memcheck.sh $(ARGS)

build: setup
	@setup/build.sh

run: build
	@setup/scenarios.sh $(ARGS)

test: setup
	@setup/test.sh

bench: build peer
	@setup/setup.sh --with-benchmark
	@setup/bench.sh $(ARGS)

peer: setup
	@setup/peer.sh

# What is given on the command line reaches the scripts; the default Python must not.
python:
	@VERSION="$(VERSION)" FREE_THREADED="$(FREE_THREADED)" setup/python.sh

engine: setup
	@VERSION="$(VERSION)" FREE_THREADED="$(FREE_THREADED)" PYTHON="$(if $(VERSION),,$(PYTHON))" setup/engine.sh

generate: build
	@setup/generate.sh

pins:
	@setup/pins.sh

clean:
	$(CARGO) clean
