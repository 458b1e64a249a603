# marketing_cdp: build, test, try.  Newcomers need two commands:
#
#	make demo	run the whole product on real data, in a throw-away server
#	make test	run every test suite, in a throw-away server
#
# Both install what is missing first ("make deps" says what).

EXTENSION  = marketing_cdp
EXTVERSION = $(shell sed -n "s/^default_version = '\(.*\)'/\1/p" $(EXTENSION).control)

# --- what is built and installed --------------------------------------------
MODULE_big  = marketing_cdp
PARSER_C    = $(patsubst %.y,%.c,$(wildcard src/types/*.y)) $(patsubst %.l,%.c,$(wildcard src/types/*.l))
OBJS        = $(sort $(patsubst %.c,%.o,$(wildcard src/*.c src/*/*.c) $(PARSER_C)))
SHLIB_LINK  = -lroaring -lm
PG_CPPFLAGS = -Isrc -DMCDP_VERSION='"$(EXTVERSION)"'
PG_CFLAGS   = -Wall -Wextra -Wno-unused-parameter -Wno-sign-compare -Wno-missing-field-initializers \
	$(if $(CI)$(WERROR),-Werror)
PGFILEDESC  = "marketing_cdp - customer data platform inside PostgreSQL"

# No bitcode: inlining our functions into jitted expressions gains nothing, and
# clang would be needed to build and the JIT package to install.
override with_llvm = no

INSTALL_SQL = $(sort $(wildcard sql/install/*.sql))
DATA        = $(wildcard sql/updates/$(EXTENSION)--*.sql)
DATA_built  = sql/$(EXTENSION)--$(EXTVERSION).sql

# --- tests ------------------------------------------------------------------
# test/sql/NAME.sql is compared with expected/NAME.out: pg_regress looks for
# expected output in the current directory before it looks in --inputdir.
REGRESS        = $(sort $(patsubst test/sql/%.sql,%,$(wildcard test/sql/*.sql)))
REGRESS_OPTS   = --inputdir=test --load-extension=$(EXTENSION)
# test/isolation/specs/fresh.spec makes what all others begin with: it comes first
ISOLATION      = $(filter-out fresh,$(sort $(patsubst test/isolation/specs/%.spec,%,$(wildcard test/isolation/specs/*.spec))))
ISOLATION_OPTS = --inputdir=test/isolation --load-extension=$(EXTENSION) fresh
TAP_TESTS      = 1
PROVE_TESTS   ?= test/tap/*.pl

EXTRA_CLEAN = tmp_check tmp_install build $(DATA_built) $(PARSER_C) src/types/criteria_gram.h

# The first run on a bare machine has no PGXS yet: only "deps", "demo" and
# "test" (which run deps first and then make again) work there.
PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs 2>/dev/null)
ifneq ($(wildcard $(PGXS)),)
include $(PGXS)
else
all install installcheck:
	@echo 'no PostgreSQL server headers: run "make deps" first' >&2; exit 1
endif

$(DATA_built): $(INSTALL_SQL) $(EXTENSION).control
	sed 's/@VERSION@/$(EXTVERSION)/' $(INSTALL_SQL) > $@

# The criteria grammar.  Generated files are build products.
src/types/criteria_gram.c src/types/criteria_gram.h &: src/types/criteria_gram.y
	bison -Wno-deprecated -d -o src/types/criteria_gram.c $<
src/types/criteria_scan.c: src/types/criteria_scan.l
	flex -o $@ $<
src/types/criteria_scan.o src/types/criteria_gram.o: src/types/criteria_gram.h

# Every object depends on every header: the tree is small and a stale object
# costs more than a rebuild.
$(OBJS): $(filter-out src/types/criteria_gram.h,$(wildcard src/*/*.h))
src/init.o: $(EXTENSION).control

# --- the two commands of a newcomer -----------------------------------------
.PHONY: deps demo demo-psql demo-clean test
deps:
	@sh tools/install-deps

demo: deps
	@$(MAKE) -s all && sh demo/run
demo-psql:
	@sh demo/run psql
demo-clean:
	@sh demo/run clean

# TESTS="regress isolation tap" chooses suites, REGRESS="bitmap" one test;
# KEEP=1 keeps the throw-away folder.
test: deps
	@$(MAKE) -s all
	@PG_CONFIG='$(PG_CONFIG)' MAKE='$(MAKE)' REGRESS='$(REGRESS)' ISOLATION='$(ISOLATION)' \
		sh test/run-private $(TESTS)

# --- checks that need no server ---------------------------------------------
.PHONY: lint check-exports check-includes check-docs check-shell
lint: check-includes check-exports check-docs check-shell
check-includes:
	@sh test/check-includes src
check-docs:
	@sh test/check-docs
check-exports: all
	@sh test/check-exports $(MODULE_big).so
check-shell:
	@shellcheck -x -s sh tools/install-deps tools/build-deb debian/tests/installcheck test/run-private test/run-job test/run-majors test/run-coverage test/run-asan test/run-deb test/check-includes test/check-exports test/check-docs test/server-conf tools/private-server demo/run bench/server bench/*.sh .ci/run

# --- heavier checks, each a target of its own -------------------------------
.PHONY: fuzz test-asan test-majors coverage test-oracle test-campaigns
fuzz:
	@$(MAKE) -s -C test/fuzz run
# the tests that compare random histories with a brute-force definition, on many more of them
ORACLE_TESTS      = funnel_random sequence_random event_state_random event_name timeline_random timeline_session retention timeline_scan journey_oracle audience_oracle segment_oracle \
				    merge_random relation identity_components
ORACLE_HISTORIES ?= 100000
ORACLE_WORLDS    ?= 120
ORACLE_RULES     ?= 10000
ORACLE_SEGMENTS  ?= 10000
ORACLE_MERGES    ?= 500
ORACLE_RELATIONS ?= $(ORACLE_MERGES)
test-oracle:
	@ORACLE_HISTORIES=$(ORACLE_HISTORIES) ORACLE_WORLDS=$(ORACLE_WORLDS) ORACLE_RULES=$(ORACLE_RULES) ORACLE_SEGMENTS=$(ORACLE_SEGMENTS) ORACLE_MERGES=$(ORACLE_MERGES) ORACLE_RELATIONS=$(ORACLE_RELATIONS) $(MAKE) -s test TESTS=regress REGRESS='$(ORACLE_TESTS)'
test-asan:
	@MAKE='$(MAKE)' TESTS='$(TESTS)' sh test/run-asan
# a month of 100 campaigns among 100,000 people (300,000 events), in a storm
test-campaigns:
	@MCDP_CAMPAIGNS='$(or $(CAMPAIGNS),100 100000 30 2500)' MCDP_CALM=$${MCDP_CALM-20} PG_TEST_TIMEOUT_DEFAULT=3600 $(MAKE) -s test TESTS=tap PROVE_TESTS=test/tap/007_campaigns.pl
coverage:
	@MAKE='$(MAKE)' TESTS='$(TESTS)' sh test/run-coverage
# MAJORS="17" chooses; as root
test-majors:
	@MAJORS='$(MAJORS)' sh test/run-majors

# --- release ----------------------------------------------------------------
.PHONY: dist
dist: META.json $(DATA_built)
	mkdir -p build
	git archive --prefix=$(EXTENSION)-$(EXTVERSION)/ --add-file=META.json \
		-o build/$(EXTENSION)-$(EXTVERSION).zip HEAD
# Debian packages, into build/
.PHONY: deb test-deb
deb:
	@sh tools/build-deb $(EXTVERSION)
# installs them in a bare system, uses and removes them; as root
test-deb:
	@MAKE='$(MAKE)' sh test/run-deb
META.json: META.json.in $(EXTENSION).control
	sed 's/@VERSION@/$(EXTVERSION)/g' $< > $@

# --- layout (pg-bsd-indent) --------------------------------------------------
OWN_C       = $(filter-out $(PARSER_C) src/types/criteria_gram.h,$(wildcard src/*.c src/*/*.c src/*/*.h))
INDENT_OPTS = -bad -bap -bbb -bc -bl -cli1 -cp33 -cdb -nce -d0 -di12 -nfc1 \
	-i4 -l79 -lp -lpl -nip -npro -sac -tpg -ts4 -Utools/typedefs.list
.PHONY: indent
indent:
	@for f in $(OWN_C); do \
	  pg_bsd_indent $(INDENT_OPTS) $$f $$f.new && { cmp -s $$f $$f.new && rm $$f.new || { mv $$f.new $$f; echo "indented $$f"; }; }; \
	done

print-%:
	@echo $($*)
