/* Executables: symbols and what they say of themselves, variables of all kinds, two executables of one code object, what
 * cannot be loaded. */
#include "common.h"

static unsigned kernels, variables, others;

static hsa_status_t symbol(hsa_executable_t executable, hsa_agent_t agent, hsa_executable_symbol_t symbol, void *data) {
    (void)executable;
    EXPECT(agent.handle == gpu.handle && data == &kernels, "the callback's arguments");
    hsa_symbol_kind_t kind;
    uint32_t length;
    char name[64] = {0};
    CHECK(hsa_executable_symbol_get_info(symbol, HSA_EXECUTABLE_SYMBOL_INFO_TYPE, &kind));
    CHECK(hsa_executable_symbol_get_info(symbol, HSA_EXECUTABLE_SYMBOL_INFO_NAME_LENGTH, &length));
    EXPECT(length < sizeof name, "a name of %u bytes", length);
    CHECK(hsa_executable_symbol_get_info(symbol, HSA_EXECUTABLE_SYMBOL_INFO_NAME, name));
    if (kind == HSA_SYMBOL_KIND_KERNEL) {
        EXPECT(strcmp(name, "variables.kd") == 0, "kernel %s", name);
        kernels++;
    } else if (strcmp(name, "table") == 0 || strcmp(name, "primes") == 0) {
        uint32_t size;
        uint64_t address;
        CHECK(hsa_executable_symbol_get_info(symbol, HSA_EXECUTABLE_SYMBOL_INFO_VARIABLE_SIZE, &size));
        CHECK(hsa_executable_symbol_get_info(symbol, HSA_EXECUTABLE_SYMBOL_INFO_VARIABLE_ADDRESS, &address));
        EXPECT(size == 16 && address, "%s has %u bytes", name, size);
        variables++;
    } else
        others++;
    return HSA_STATUS_SUCCESS;
}

static uint64_t address_of(hsa_executable_t executable, const char *name) {
    hsa_executable_symbol_t symbol;
    uint64_t address;
    CHECK(hsa_executable_get_symbol_by_name(executable, name, &gpu, &symbol));
    CHECK(hsa_executable_symbol_get_info(symbol, HSA_EXECUTABLE_SYMBOL_INFO_VARIABLE_ADDRESS, &address));
    return address;
}

static module_t load_with(const char *path, uint32_t *provided) {
    module_t module;
    size_t size;
    module.bytes = file_bytes(path, &size);
    CHECK(hsa_code_object_reader_create_from_memory(module.bytes, size, &module.reader));
    CHECK(hsa_executable_create_alt(HSA_PROFILE_FULL, HSA_DEFAULT_FLOAT_ROUNDING_MODE_DEFAULT, NULL, &module.executable));
    CHECK(hsa_executable_agent_global_variable_define(module.executable, gpu, "provided", provided));
    REFUSED(hsa_executable_agent_global_variable_define(module.executable, gpu, "provided", provided),
            HSA_STATUS_ERROR_VARIABLE_ALREADY_DEFINED);
    CHECK(hsa_executable_load_agent_code_object(module.executable, gpu, module.reader, NULL, NULL));
    CHECK(hsa_executable_freeze(module.executable, NULL));
    uint32_t outcome = 9;
    CHECK(hsa_executable_validate(module.executable, &outcome));
    EXPECT(outcome == 0, "validation found %u", outcome);
    REFUSED(hsa_executable_freeze(module.executable, NULL), HSA_STATUS_ERROR_FROZEN_EXECUTABLE);
    hsa_executable_state_t state;
    CHECK(hsa_executable_get_info(module.executable, HSA_EXECUTABLE_INFO_STATE, &state));
    EXPECT(state == HSA_EXECUTABLE_STATE_FROZEN, "state %d", state);
    return module;
}

/* Runs the kernel, whose every run adds 1 to `table`. */
static void values(hsa_queue_t *queue, module_t module, const uint32_t *provided, uint32_t added) {
    static const uint32_t table[4] = {2, 3, 5, 7}, primes[4] = {11, 13, 17, 19};
    uint32_t **arguments = allocate(kernargs, 8);
    *arguments = allocate(fine, 16);
    run(queue, kernel_of(module, "variables"), arguments, 4, 64);
    for (int i = 0; i < 4; i++) {
        uint32_t expected = (table[i] + added) * 10000 + primes[i] * 100 + provided[i];
        EXPECT((*arguments)[i] == expected, "variable %d: %u, expected %u", i, (*arguments)[i], expected);
    }
    release(*arguments);
    release(arguments);
}

static hsa_status_t loaded(const void *bytes, size_t size) {
    hsa_code_object_reader_t reader;
    hsa_executable_t executable;
    hsa_status_t status = hsa_code_object_reader_create_from_memory(bytes, size, &reader);
    if (status != HSA_STATUS_SUCCESS)
        return status;
    CHECK(hsa_executable_create_alt(HSA_PROFILE_FULL, HSA_DEFAULT_FLOAT_ROUNDING_MODE_DEFAULT, NULL, &executable));
    status = hsa_executable_load_agent_code_object(executable, gpu, reader, NULL, NULL);
    CHECK(hsa_executable_destroy(executable));
    CHECK(hsa_code_object_reader_destroy(reader));
    return status;
}

int main(int argc, char **argv) {
    EXPECT(argc > 2, "usage: %s KERNELS.co EXECUTABLE.co", argv[0]);
    start();
    hsa_queue_t *queue = queue_of(64);
    uint32_t *provided = allocate(fine, 16), *others_provided = allocate(vram, 16);
    for (uint32_t i = 0; i < 4; i++)
        provided[i] = 50 + i;
    CHECK(hsa_memory_copy(others_provided, provided, 16));

    module_t module = load_with(argv[2], provided), twin = load_with(argv[2], others_provided);
    CHECK(hsa_executable_iterate_agent_symbols(module.executable, gpu, symbol, &kernels));
    EXPECT(kernels == 1 && variables == 2, "%u kernels, %u variables, %u others", kernels, variables, others);
    hsa_executable_symbol_t none;
    REFUSED(hsa_executable_get_symbol_by_name(module.executable, "no such thing", &gpu, &none),
            HSA_STATUS_ERROR_INVALID_SYMBOL_NAME);

    // Two executables have variables of their own.
    EXPECT(address_of(module.executable, "table") != address_of(twin.executable, "table"), "one variable for two");
    values(queue, module, provided, 0);
    values(queue, module, provided, 1);
    values(queue, twin, provided, 0);
    values(queue, module, provided, 2);

    // The host reads and writes them.
    uint32_t table[4];
    CHECK(hsa_memory_copy(table, (void *)address_of(module.executable, "table"), sizeof table));
    EXPECT(table[0] == 5 && table[3] == 10, "the host sees %u ... %u", table[0], table[3]);
    table[0] = 2 + 1, table[1] = 3 + 1, table[2] = 5 + 1, table[3] = 7 + 1;
    CHECK(hsa_memory_copy((void *)address_of(module.executable, "table"), table, sizeof table));
    values(queue, module, provided, 1);

    // Loaded again, a variable is as at first.
    unload(module);
    module = load_with(argv[2], provided);
    values(queue, module, provided, 0);
    values(queue, twin, provided, 1);

    // What is no code object for this agent.
    size_t size;
    char *bytes = file_bytes(argv[1], &size);
    EXPECT(loaded(bytes, size) == HSA_STATUS_SUCCESS, "the good one");
    EXPECT(loaded(bytes, 0) != HSA_STATUS_SUCCESS, "none of it");
    // e_flags: gfx1010 instead of gfx906. (Debian's newer runtimes take gfx900's code for gfx906.)
    bytes[48] = 0x33;
    EXPECT(loaded(bytes, size) != HSA_STATUS_SUCCESS, "code for another GPU");
    bytes[0] = 0;
    EXPECT(loaded(bytes, size) != HSA_STATUS_SUCCESS, "no ELF file");
    free(bytes);

    unload(module);
    unload(twin);
    CHECK(hsa_queue_destroy(queue));
    release(provided);
    release(others_provided);
    return finish();
}
