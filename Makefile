# longshore: build, show, test. Needs Debian with Rust; installs what else it needs.

TARGET := $(shell rustc -vV | sed -n 's/^host: //p')
MUSL   := $(subst -gnu,-musl,$(TARGET))
# The release command is for musl where that target is installed, else for glibc; static either way.
HAVE_MUSL := $(shell test -d "$$(rustc --print sysroot)/lib/rustlib/$(MUSL)" && echo yes)
ifeq ($(HAVE_MUSL),yes)
TRIPLE := $(MUSL)
else
TRIPLE := $(TARGET)
endif
OUT    := target/$(TRIPLE)/release
TOOLS  := target/$(TARGET)/release
PREFIX ?= /usr/local
RUNC   ?= runc
CRUN   ?= crun
# What `make bench` compares with, beside the other runtimes, and how often.
OLD    ?=
PAIRS  ?= 500
# More columns of the conformance report: name=path, separated by commas.
RUNTIMES ?=
COMMA  := ,
export LIBSECCOMP_LINK_TYPE ?= static
export LIBSECCOMP_LIB_PATH ?= /usr/lib/$(shell gcc -print-multiarch 2>/dev/null)

BUILD_PACKAGES := gcc libc6-dev libseccomp-dev pkg-config
TEST_PACKAGES  := busybox-static mmdebstrap strace util-linux uidmap runc crun musl-tools man-db ca-certificates
ENGINE_PACKAGES := docker.io docker-compose containerd containernetworking-plugins podman buildah catatonit fuse-overlayfs slirp4netns uidmap python3-minimal iptables iproute2 bsdutils procps tar
VM_PACKAGES := qemu-system-x86 mmdebstrap e2fsprogs cpio xz-utils

# Phony: cargo knows best what is out of date.
.PHONY: build build-spec build-cri install demo test test-unit test-spec test-upgrade test-robust test-engines test-fuzz test-vm test-vm-smoke conformance bench old soak check fuzz \
	packages-build packages-test packages-engines packages-vm clean

build: packages-build
	cargo build --release --locked -p longshore-shim --target $(TRIPLE)
	mkdir -p bin && cp $(OUT)/longshore bin/longshore

install: build
	install -D -m 0755 bin/longshore $(DESTDIR)$(PREFIX)/bin/longshore
	scripts/install-docs bin/longshore $(DESTDIR)$(PREFIX)/share

demo: build packages-test
	demo/run

# Everything CI runs, in its order: fast things first.
test: build packages-test check test-unit test-spec test-upgrade test-robust test-engines test-fuzz test-vm-smoke

test-unit:
	cargo test --locked --workspace --exclude longshore-init
	cargo test --locked -p longshore-init

build-spec: packages-build
	cargo build --release --locked -p longshore-spec-tests

build-cri: packages-build
	cargo build --release --locked -p longshore-cri

test-spec: build build-spec
	$(TOOLS)/spec-tests --runtime $(CURDIR)/bin/longshore
	$(TOOLS)/spec-tests --runtime $(CURDIR)/bin/longshore --cgroup2-view
	$(TOOLS)/spec-tests --runtime $(CURDIR)/bin/longshore --without all
	$(TOOLS)/spec-tests --runtime "$$(command -v $(RUNC))"

# What a host may be upgraded from: the last release, or the commit that stands for it before there is one.
PREVIOUS ?= $(shell git describe --tags --abbrev=0 --match 'v*' HEAD^ 2>/dev/null || echo 6366c53)
test-upgrade: build build-spec
	@if git cat-file -e $(PREVIOUS)^{commit} 2>/dev/null; then \
	    $(MAKE) old REV=$(PREVIOUS) && \
	    $(TOOLS)/spec-tests --runtime $(CURDIR)/bin/longshore --old target/old/longshore --filter upgrade. --filter downgrade.; \
	else echo "test-upgrade: left out, $(PREVIOUS) is not in this checkout's history"; fi

test-robust: build build-spec
	$(TOOLS)/robustness --runtime $(CURDIR)/bin/longshore

# Engines of its own, with longshore as their runtime; the same with runc as the control.
test-engines: build build-spec build-cri packages-test packages-engines
	$(TOOLS)/engine-tests --runtime $(CURDIR)/bin/longshore
	$(TOOLS)/engine-tests --runtime "$$(command -v $(RUNC))"

# What needs a machine of its own: cgroup v2 with every controller, systemd, AppArmor, CRIU (spec-tests/vm/README.md).
test-vm: build build-spec packages-test packages-vm
	spec-tests/vm/test full $(CURDIR)/bin/longshore $(TOOLS)/spec-tests $$(scripts/test-binary longshore oom_group)

test-vm-smoke: build build-spec packages-test packages-vm
	spec-tests/vm/test smoke $(CURDIR)/bin/longshore $(TOOLS)/spec-tests

# Examines longshore, runc and crun, which takes some minutes, and writes the table.
conformance: build build-spec packages-test
	$(TOOLS)/conformance --output docs/conformance.md --results target/conformance \
	    --runtime longshore=$(CURDIR)/bin/longshore --runtime runc="$$(command -v $(RUNC))" --runtime crun="$$(command -v $(CRUN))" \
	    $(foreach runtime,$(subst $(COMMA), ,$(RUNTIMES)),--runtime $(runtime))

# With OLD only the two, in turn: has anything become slower?
bench: build packages-test
	cargo build --release --locked -p longshore-benches
ifneq ($(OLD),)
	$(TOOLS)/lifecycle --longshore $(CURDIR)/bin/longshore --old $(OLD) --pairs $(PAIRS)
else
	cargo build --release --locked -p longshore --examples
	$(TOOLS)/micro
	$(TOOLS)/lifecycle --longshore $(CURDIR)/bin/longshore --runc "$$(command -v $(RUNC))" --crun "$$(command -v $(CRUN))" \
	    --library $(CURDIR)/$(TOOLS)/examples/bench_server
endif

# An earlier longshore, made of REV: make bench OLD=target/old/longshore
old: packages-build
	rm -rf target/old && mkdir -p target/old
	git archive $(REV) | tar -x -C target/old
	cd target/old && CARGO_TARGET_DIR=build cargo build --release --locked -p longshore-shim --target $(TRIPLE)
	cp target/old/build/$(TRIPLE)/release/longshore target/old/longshore

# The long counts: CI runs a tenth of them.
soak: build packages-test packages-engines build-spec build-cri
	LONGSHORE_SOAK=1 cargo test --release --locked -p longshore --tests
	$(TOOLS)/robustness --runtime $(CURDIR)/bin/longshore --soak
	$(TOOLS)/engine-tests --runtime $(CURDIR)/bin/longshore --soak --filter docker.short-runs --filter docker.races --filter cri.many

check: packages-build
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps -p longshore
	@if command -v cargo-deny >/dev/null; then cargo deny check; else echo "check: cargo-deny is not installed, its part is left out"; fi

# Ten minutes a target; in tests one.
fuzz: packages-build
	fuzz/run

test-fuzz: packages-build
	SECONDS_EACH=$${SECONDS_EACH:-60} fuzz/run

packages-build:
	@scripts/packages $(BUILD_PACKAGES)

packages-test:
	@scripts/packages $(TEST_PACKAGES)

packages-engines:
	@scripts/packages $(ENGINE_PACKAGES)

packages-vm:
	@scripts/packages $(VM_PACKAGES)

clean:
	cargo clean
	rm -rf bin
