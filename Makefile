# Two lines to remember:
#
#     make demo     real processes elect a leader, lose it in four ways, and elect another
#     make check    everything that is checked, on everything that is needed for it
#
# Behind them: build, bench, soak (SECONDS=n), chaos (SECONDS=n), fuzz (SECONDS=n), fresh-check, lint, format,
# install (DESTDIR=, PREFIX=), uninstall, clean. Meson does the work; these are its front.

BUILD := build
PREFIX ?= /usr/local
SECONDS ?= 60
PYTHON := /usr/bin/python3

.PHONY: all build demo check bench soak chaos fuzz fresh-check lint format install uninstall clean packages

all: build

packages:
	@scripts/install-packages build

build: packages
	@scripts/build

demo:
	@scripts/install-packages demo
	@scripts/build demo
	@scripts/demo

check:
	@scripts/install-packages check
	@$(PYTHON) scripts/check

bench:
	@scripts/install-packages bench
	@$(MAKE) --no-print-directory build
	@scripts/bench

# New seeds every time: they begin at the present second. The time is shared by the kinds of worlds.
soak: build
	@set -- $$($(BUILD)/tests/sim/sim --kinds); for kind; do \
		$(BUILD)/tests/sim/sim $$kind --seconds $$((($(SECONDS) + $$# - 1) / $$#)) --seeds $$(date +%s)00000- \
			--jobs $$(nproc) || exit 1; \
	done

# Faults on a real etcd; SEED=n takes the same ones again.
chaos:
	@scripts/install-packages check
	@$(MAKE) --no-print-directory build
	@$(PYTHON) tests/chaos/chaos.py --seconds $(SECONDS) $(if $(SEED),--seed $(SEED))

fuzz:
	@scripts/install-packages check
	@scripts/fuzz $(SECONDS)

# All of it on bare systems of each release; nothing of this machine helps.
fresh-check:
	@scripts/install-packages fresh
	@scripts/fresh-check demo install check

lint:
	@scripts/install-packages check
	@$(PYTHON) scripts/check lint

format:
	@clang-format -i $$(git ls-files '*.c' '*.h')

install: build
	@scripts/install $(PREFIX)

uninstall:
	@scripts/install --undo

clean:
	rm -rf $(BUILD) build-*
