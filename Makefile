# make without a target prints this help.
SHELL  := /bin/sh
GO     ?= go
BIN    := bin/rollcall
SEED   ?=
CROWD  ?=
COUNT  ?= 200
CLIENTS ?= 500
FUZZ   ?= 20s
BASE   ?=
ROWS   ?=
# The packages that publications, heartbeats and joins go through.
HOT    := ./protocol ./ring ./room ./internal/edge/outbox ./internal/inbox ./internal/api ./internal/auth

.DEFAULT_GOAL := help
.PHONY: help build run test race chaos chaos-real bench bench-compare speed fuzz lint check cover clean needs

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build bin/rollcall
	$(GO) build -trimpath -o $(BIN) .

run: build ## a local cluster of three nodes, Redis included
	@exec $(BIN) dev

needs: ## bring what the tests need, or say what to install
	@sh .ci/needs redis-server redis-server
	@sh .ci/needs ip iproute2
	@sh .ci/needs chromium chromium

test: needs ## all tests
	$(GO) vet ./...
	$(GO) test ./...

race: needs ## all tests under the race detector, the nodes of internal/integ too
	$(GO) test -race $$($(GO) list ./... | grep -v /internal/integ$$)
	$(GO) test -race -timeout 20m ./internal/integ -integ.race

chaos: needs ## COUNT drawn schedules of faults in virtual time; SEED repeats one draw, CROWD=1 draws large ones
	$(GO) test -timeout 0 -run 'TestChaos$$' ./internal/clustertest -rapid.checks=$(COUNT) $(if $(SEED),-rapid.seed=$(SEED)) $(if $(CROWD),-chaos.crowd)

chaos-real: needs ## crowds of CLIENTS against real processes and their faults, every story in short
	$(GO) run ./internal/chaosreal/crowds -clients $(CLIENTS) -times 1 -lasts 20s -every 8s

bench: ## all benchmarks, for benchstat
	$(GO) test -run '^$$' -bench . -benchmem ./...

bench-compare: ## fail on a benchmark that is over 10 % slower than at BASE
	@test -n "$(BASE)" || { echo "make bench-compare BASE=<revision>"; exit 2; }
	$(GO) run ./internal/compare -base $(BASE) $(HOT)

speed: ## the table of targets in docs/benchmarks.md; ROWS picks some
	$(GO) run ./internal/speed -runs 5 $(ROWS)

fuzz: ## every fuzz target for FUZZ each
	@for p in $$($(GO) list ./...); do \
		for f in $$($(GO) test -list '^Fuzz' $$p | grep ^Fuzz); do \
			echo "$$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZ) $$p || exit 1; \
		done; \
	done

lint: ## vet and staticcheck
	$(GO) vet ./...
	$(GO) tool -modfile=tools/go.mod staticcheck ./...

check: lint test race ## what has to pass before a change lands
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); exit 1; }

cover: needs ## coverage by package
	$(GO) test -cover ./...

clean: ## remove what was built
	rm -rf bin
