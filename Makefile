# What there is to do with this tree. `make run` and `make test` are the two that matter;
# they need Go, git and make, and on Debian as root they fetch the rest themselves.

SHELL       := /bin/bash
.SHELLFLAGS := -o pipefail -c
.DEFAULT_GOAL := help

GO         ?= go
FUZZTIME   ?= 60s
BENCHFLAGS ?=
DESTDIR    ?=
PREFIX     ?= /usr/local

STATICCHECK ?= $(shell command -v staticcheck || echo $(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.2)

# One static binary: it runs wherever the kernel does.
export CGO_ENABLED := 0

# What `backstop version` says. RELEASE=1.2.3 names a release.
RELEASE ?=
COMMIT  := $(shell git rev-parse --verify --quiet HEAD 2>/dev/null)
LDFLAGS := -X main.release=$(RELEASE) -X main.commit=$(COMMIT)

# Where git does not answer for this tree (an archive, or another owner's), the
# binary is built without the commit in it instead of not at all.
ifeq (,$(COMMIT))
export GOFLAGS := $(GOFLAGS) -buildvcs=false
endif

.PHONY: help run build test lint fuzz bench man install clean

help: ## Say what there is to do.
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 18

run: build ## Build, and run the demonstration: a mail server and the gateway before it.
	bin/backstop demo

build: ## Build bin/backstop.
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/backstop ./cmd/backstop

test: ## Fetch what tests need, then vet and test everything.
	@scripts/deps.sh
	@GO="$(GO)" scripts/test.sh

lint: ## Formatting, go vet, staticcheck.
	@unformatted=$$(gofmt -l bench cmd internal) && { [ -z "$$unformatted" ] || { echo "gofmt -w $$unformatted"; exit 1; }; }
	$(GO) vet ./...
	$(STATICCHECK) ./...

fuzz: ## Run every fuzz target for FUZZTIME (60s) each.
	@GO="$(GO)" scripts/fuzz.sh $(FUZZTIME)

bench: build ## Measure beside Postfix and Exim; BENCHFLAGS="-quick" is coarse and short.
	@scripts/deps.sh
	$(GO) run ./bench $(BENCHFLAGS)

man: build ## Write the manual pages into bin/man.
	bin/backstop man bin/man

install: build man ## Install program, manual pages and systemd unit below PREFIX (/usr/local).
	install -D -m 0755 bin/backstop $(DESTDIR)$(PREFIX)/bin/backstop
	install -d $(DESTDIR)$(PREFIX)/share/man/man8
	install -m 0644 bin/man/*.8 $(DESTDIR)$(PREFIX)/share/man/man8/
	install -d $(DESTDIR)/etc/systemd/system
	sed 's|=/usr/local/bin/|=$(PREFIX)/bin/|' packaging/backstop.service > $(DESTDIR)/etc/systemd/system/backstop.service

clean: ## Remove what was built and fetched here.
	rm -rf bin .deps
