// Work whose order shows in the data: a step of a graph checks the versions of what it depends on, then writes its own.
#include "grid.h"

#define READS 3

// One version of one cell.
typedef struct {
    uint cell;
    uint version;
} Access;

// What a step has to find, from a model of the whole graph. 48 bytes.
typedef struct {
    uint key;           // equals the argument `key`
    uint extra;         // equals the argument `extra`
    uint spin;          // turns of a loop between reading and writing
    uint reads;         // how many of `read` there are
    Access read[READS]; // holds this version from the step's beginning to its end
    Access write;       // holds this version before the step, the next one after it
} Step;

// What a workgroup of a step leaves. 16 bytes.
typedef struct {
    uint runs;
    uint step;       // index of the step, plus 1
    uint violations; // lanes' findings that were wrong
    uint first;      // what the first one was: KEY, EXTRA, RANGE, READ + n, AGAIN + n or WRITE; seen value in the upper 24 bits
} Report;

enum { KEY = 1, EXTRA = 2, RANGE = 3, READ = 8, AGAIN = 16, WRITE = 24 };

static inline void expect(global Report *report, uint what, uint seen, uint expected) {
    if (seen == expected)
        return;
    // Atomic because the lanes of a workgroup may all be wrong at once.
    if (__opencl_atomic_fetch_add((global atomic_uint *)&report->violations, 1u, memory_order_relaxed,
                                  memory_scope_device) == 0)
        report->first = what | seen << 8;
}

static inline void expect_reads(global const uint *cells, uint lanes, uint cell_count, uint lane,
                                global const Step *step, global Report *report, uint what) {
    for (uint n = 0; n < step->reads && n < READS; n++) {
        Access read = step->read[n];
        if (read.cell < cell_count)
            expect(report, what + n, cells[read.cell * lanes + lane], read.version);
        else
            expect(report, RANGE, read.cell, cell_count);
    }
}

// Step `index` of `steps`; a cell has `lanes` words, one for each lane of the grid. Workgroup g reports in
// reports[report * workgroups of the grid + g]. Nothing is atomic that correct order makes unnecessary: a step that runs early,
// late, twice or never leaves a wrong version, a violation, or a wrong number of runs.
kernel void stress_step(global uint *cells, uint lanes, uint cell_count, global const Step *steps,
                        uint step_count, global Report *reports, uint report, uint index, uint key, uint extra) {
    uint lane = global_x();
    uint groups = (lanes + __builtin_amdgcn_workgroup_size_x() - 1) / __builtin_amdgcn_workgroup_size_x();
    if (lane >= lanes)
        return;
    reports += report * groups + group_x();
    if (local_x() == 0) {
        reports->runs++;
        reports->step = index + 1;
    }
    if (index >= step_count) {
        expect(reports, RANGE, index, step_count);
        return;
    }
    steps += index;
    expect(reports, KEY, key, steps->key);
    expect(reports, EXTRA, extra, steps->extra);
    expect_reads(cells, lanes, cell_count, lane, steps, reports, READ);
    for (uint i = 0; i < steps->spin; i++)
        __builtin_amdgcn_s_sleep(1);
    // Read again, and not remembered. Not volatile: such accesses go round the caches, and no fence would matter.
    __asm__ volatile("" ::: "memory");
    expect_reads(cells, lanes, cell_count, lane, steps, reports, AGAIN);
    Access write = steps->write;
    if (write.cell >= cell_count) {
        expect(reports, RANGE, write.cell, cell_count);
        return;
    }
    uint at = write.cell * lanes + lane;
    uint version = cells[at];
    expect(reports, WRITE, version, write.version);
    cells[at] = version + 1;
}
