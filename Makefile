PYTHON ?= /usr/bin/python3
export PYTHON

.PHONY: peer
peer:
	@setup/peer.sh
