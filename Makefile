# hasten: `make` builds into bin/, `make check` tests, `make demo` shows the main job. One file, no recursion.
#
# A source file's folder decides what it becomes: tools/*.c are programs, X/tests/*.c are test programs built on
# Check (bin/tests/), everything else under common/ and kernels/ goes into libhasten.a. Kernels are compiled once
# per CPU level: kernels/cpu/NAME.inc is included by kernels/cpu/NAME_LEVEL.c, which gets that level's flags.
# kernels/cuda/*.cu are compiled twice: as C++ for the host, for tests that emulate them (libemulator.a), and, where
# there is an nvcc, into build/cuda/*.fatbin.

PREFIX ?= /usr/local
DESTDIR ?=
PROGRAM_PREFIX ?= hasten-
CC ?= gcc
CXX ?= g++
# SANITIZE=1 builds everything with ASan and UBSan into its own folder.
SANITIZE ?=
BUILD := build$(if $(SANITIZE),/sanitize)
BIN := bin$(if $(SANITIZE),/sanitize)

WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wformat=2 -Wpointer-arith -Wundef
OPT := -O2 -g -fno-math-errno -ffp-contract=off -fno-semantic-interposition
HARDEN := -D_FORTIFY_SOURCE=2 -fstack-protector-strong
ifneq ($(SANITIZE),)
OPT += -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
HARDEN :=
endif
CFLAGS ?=
ALL_CFLAGS := -std=gnu17 -I. -Iinclude -D_GNU_SOURCE $(WARN) $(OPT) $(HARDEN) -pthread -fPIC -MMD -MP $(CFLAGS)
LDLIBS := -lzstd -lcjson -lpng -lxxhash -lm -pthread

X86 := $(filter x86_64 amd64,$(shell uname -m))
# Under the sanitizers -O2 takes gcc minutes for each of these; the tests run as fast with -O1.
FLAGS_avx2 := -mavx2 -mfma -mf16c $(if $(SANITIZE),-O1)
FLAGS_avx512 := $(FLAGS_avx2) -mavx512f -mavx512bw -mavx512dq -mavx512vl -mprefer-vector-width=512
FLAGS_vnni := $(FLAGS_avx512) -mavx512vnni
FLAGS_bf16 := $(FLAGS_vnni) -mavx512bf16

LIB_SRC := $(filter-out $(wildcard common/*/tests/*.c kernels/*/tests/*.c),$(wildcard common/*/*.c kernels/*/*.c))
LIB_OBJ := $(LIB_SRC:%.c=$(BUILD)/%.o)
TOOL_NAMES := import export quantize prune profile cache-schedule generate evaluate inspect
TOOL_SHARED := $(filter-out $(foreach t,$(TOOL_NAMES),tools/$(subst -,_,$t).c),$(wildcard tools/*.c))
TOOLS := $(foreach t,$(TOOL_NAMES),$(if $(wildcard tools/$(subst -,_,$t).c),$(BIN)/$t))
TEST_SRC := $(wildcard common/*/tests/*.c kernels/*/tests/*.c tools/tests/*.c)
TESTS := $(foreach t,$(TEST_SRC),$(BIN)/tests/$(subst _,-,$(basename $(notdir $t))))
LIB := $(BUILD)/libhasten.a

# The CUDA kernels on the CPU: kernels/cuda/emulate.h.
EMULATED := $(wildcard kernels/cuda/*.cu kernels/cuda/tests/emulator/*.cu)
EMULATOR_OBJ := $(patsubst %.c,$(BUILD)/%.o,$(wildcard kernels/cuda/tests/emulator/*.c)) $(EMULATED:%.cu=$(BUILD)/%.o)
EMULATOR := $(BUILD)/libemulator.a
CXXFLAGS := -std=c++17 -I. -Wall -Wextra -Wno-unknown-pragmas $(OPT) $(HARDEN) -fno-exceptions -fno-rtti \
	-fno-threadsafe-statics -fPIC -MMD -MP $(CFLAGS) $(if $(SANITIZE),-fno-sanitize=vptr)

# The CUDA kernels for devices: machine code for these architectures, PTX for later ones. What ptxas says of their
# resources is kept beside them, for scripts/cuda-resources.
NVCC ?= $(firstword $(shell command -v nvcc 2>/dev/null) $(wildcard /usr/local/cuda/bin/nvcc) \
	$(shell find build/cuda -path '*/bin/nvcc' -type f 2>/dev/null))
CUDA_ARCHS := 80 86 89 90a 100 120
CUDA_FLAGS := -std=c++17 -I. -O3 $(foreach a,$(CUDA_ARCHS),-gencode=arch=compute_$a,code=sm_$a) \
	-gencode=arch=compute_80,code=compute_80 --compress-mode=size
FATBINS := $(if $(NVCC),$(patsubst kernels/cuda/%.cu,build/cuda/%.fatbin,$(wildcard kernels/cuda/*.cu)))

# The plugin: the host side in plain C, with the fatbins in it (none without nvcc). The recording driver stands in for
# the NVIDIA driver in tests, and a cuBLASLt, a cuDNN and a CUPTI on top of it for the libraries.
PLUGIN := $(BIN)/hasten-cuda.so
PLUGIN_OBJ := $(patsubst %.c,$(BUILD)/%.o,$(wildcard kernels/cuda/plugin/*.c)) $(BUILD)/kernels/cuda/plugin/images.o
DRIVER := $(BIN)/tests/cuda/libcuda.so.1
DRIVER_OBJ := $(patsubst %.c,$(BUILD)/%.o,$(wildcard kernels/cuda/tests/driver/d[er]*.c))
LIBRARIES := $(BIN)/tests/cuda/libcublasLt.so.13 $(BIN)/tests/cuda/libcudnn.so.9 \
	$(BIN)/tests/cuda/libcupti.so.13

all: $(TOOLS) $(TESTS) $(PLUGIN) $(DRIVER) $(LIBRARIES) $(if $(FATBINS),,no-nvcc)

$(LIB): $(LIB_OBJ)
	@rm -f $@
	ar rcs $@ $^

build/cuda/%.fatbin: kernels/cuda/%.cu
	@mkdir -p $(@D)
	$(NVCC) $(CUDA_FLAGS) -MMD -MP -MF $@.d -Xptxas -v -fatbin $< -o $@ >$@.log 2>&1 || { cat $@.log; rm -f $@; exit 1; }

no-nvcc:
	@echo "make: there is no nvcc, so the CUDA plugin has no kernels (scripts/setup --cuda installs one)"

$(BUILD)/kernels/cuda/plugin/images.c: $(FATBINS) scripts/cuda-images
	@mkdir -p $(@D)
	scripts/cuda-images $(FATBINS) >$@

$(BUILD)/kernels/cuda/plugin/images.o: $(BUILD)/kernels/cuda/plugin/images.c
	$(CC) $(ALL_CFLAGS) -fvisibility=hidden -c $< -o $@

$(BUILD)/kernels/cuda/plugin/%.o: LEVEL_FLAGS := -fvisibility=hidden

$(PLUGIN): $(PLUGIN_OBJ)
	@mkdir -p $(@D)
	$(CC) $(OPT) -shared $^ -o $@

$(DRIVER): $(DRIVER_OBJ) $(EMULATOR) $(LIB)
	@mkdir -p $(@D)
	$(CC) $(OPT) -shared -Wl,--exclude-libs,ALL -Wl,-soname,libcuda.so.1 $^ $(LDLIBS) -o $@

$(BIN)/tests/cuda/libcublasLt.so.13: $(BUILD)/kernels/cuda/tests/driver/blas.o $(DRIVER)
	$(CC) $(OPT) -shared -Wl,-soname,libcublasLt.so.13 $^ -o $@

$(BIN)/tests/cuda/libcudnn.so.9: $(patsubst %,$(BUILD)/kernels/cuda/tests/driver/%.o,dnn dnn_run) $(DRIVER)
	$(CC) $(OPT) -shared -Wl,-soname,libcudnn.so.9 $^ -lm -o $@

$(BIN)/tests/cuda/libcupti.so.13: $(BUILD)/kernels/cuda/tests/driver/cupti.o $(DRIVER)
	$(CC) $(OPT) -shared -Wl,-soname,libcupti.so.13 $^ -o $@

$(EMULATOR): $(EMULATOR_OBJ)
	@rm -f $@
	ar rcs $@ $^

$(BUILD)/kernels/cuda/tests/emulator/%.o: LEVEL_FLAGS := -O3

$(BUILD)/%.o: %.cu
	@mkdir -p $(@D)
	$(CXX) $(CXXFLAGS) -x c++ -c $< -o $@

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(LEVEL_FLAGS) -c $< -o $@

# Named one by one: a test of a level's kernels runs everywhere, so it is not compiled for that level.
level_objects = $(addprefix $(BUILD)/kernels/cpu/,$(addsuffix _$1.o,rows matmul tests/test_vmath))
$(call level_objects,avx2): LEVEL_FLAGS := $(FLAGS_avx2)
$(call level_objects,avx512): LEVEL_FLAGS := $(FLAGS_avx512)
$(call level_objects,vnni): LEVEL_FLAGS := $(FLAGS_vnni)
$(call level_objects,bf16): LEVEL_FLAGS := $(FLAGS_bf16)

define TOOL_RULE
$(BIN)/$1: $(BUILD)/tools/$(subst -,_,$1).o $(TOOL_SHARED:%.c=$(BUILD)/%.o) $(LIB)
	@mkdir -p $$(@D)
	$(CC) $(OPT) $$^ $(LDLIBS) -o $$@
endef
$(foreach t,$(TOOL_NAMES),$(eval $(call TOOL_RULE,$t)))

define TEST_RULE
$(BIN)/tests/$(subst _,-,$(basename $(notdir $1))): $(BUILD)/$(1:.c=.o) $(EMULATOR) $(LIB)
	@mkdir -p $$(@D)
	$(CC) $(OPT) $$^ $(shell pkg-config --libs check) $(LDLIBS) -o $$@
endef
$(foreach t,$(TEST_SRC),$(eval $(call TEST_RULE,$t)))

# The unit tests, then the shell cases of tools/tests/cases. The last line is "N passed, N failed, N skipped".
# Limits of time are there for what hangs; a sanitized program on a slow machine is 10 times slower than here.
check: all
	@$(if $(SANITIZE),CK_DEFAULT_TIMEOUT=600 UNIT_SECONDS=1800 CASE_SECONDS=1800) tools/tests/run.sh $(BIN)

# The same with the long forms of the sweeps.
sweep: all
	@SWEEP=1 UNIT_SECONDS=7200 CASE_SECONDS=7200 tools/tests/run.sh $(BIN)

# The house's rules: sizes, layers, banned functions, man pages, shell scripts.
lint: all
	@scripts/lint $(BIN)

demo: all
	@scripts/demo

D := $(DESTDIR)$(PREFIX)
MAN := $(wildcard man/*.[1-8])
# man/hasten-NAME.1 is installed with the prefix of the programs, the other pages under their own names.
man_target = $D/share/man/man$(subst .,,$(suffix $1))/$(if $(filter %.1,$1),$(patsubst hasten-%,$(PROGRAM_PREFIX)%,$(notdir $1)),$(notdir $1))
INSTALLED = $(foreach t,$(TOOLS),$D/bin/$(PROGRAM_PREFIX)$(notdir $t)) $(foreach m,$(MAN),$(call man_target,$m)) \
	$D/lib/libhasten.a $D/lib/hasten/$(notdir $(PLUGIN)) $D/include/hasten.h $D/share/zsh/site-functions/_hasten \
	$(foreach t,$(TOOLS),$D/share/bash-completion/completions/$(PROGRAM_PREFIX)$(notdir $t))

install: all
	$(foreach t,$(TOOLS),install -D -m 755 $t $D/bin/$(PROGRAM_PREFIX)$(notdir $t) &&) true
	$(foreach m,$(MAN),install -D -m 644 $m $(call man_target,$m) &&) true
	install -D -m 644 $(LIB) $D/lib/libhasten.a
	install -D -m 755 $(PLUGIN) $D/lib/hasten/$(notdir $(PLUGIN))
	$(if $(wildcard include/hasten.h),install -D -m 644 include/hasten.h $D/include/hasten.h)
	install -D -m 644 scripts/completion/hasten.zsh $D/share/zsh/site-functions/_hasten
	$(foreach t,$(TOOLS),install -D -m 644 scripts/completion/hasten.bash \
		$D/share/bash-completion/completions/$(PROGRAM_PREFIX)$(notdir $t) &&) true

uninstall:
	rm -f $(INSTALLED)

clean:
	rm -rf build bin

.PHONY: all no-nvcc check sweep lint demo install uninstall clean
.SECONDARY:
-include $(sort $(shell find $(BUILD) -name '*.d' 2>/dev/null) $(wildcard build/cuda/*.d))
