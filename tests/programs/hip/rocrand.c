/* AMD's rocRAND, a library of kernels that nobody here wrote: two generators bit for bit against computations of their own
 * definitions, the others by their statistics. Exits with 77 if the library is not installed. The prototypes are rocrand.h's. */
#include "common.h"
#include <dlfcn.h>
#include <math.h>

typedef void *generator_t;
enum { XORWOW = 401, MRG32K3A = 402, MTGP32 = 403, PHILOX = 404, SOBOL32 = 500 };

#define FUNCTIONS(X)                                                                                                   \
    X(rocrand_create_generator, (generator_t *, int))                                                                  \
    X(rocrand_destroy_generator, (generator_t))                                                                        \
    X(rocrand_set_seed, (generator_t, unsigned long long))                                                             \
    X(rocrand_generate, (generator_t, unsigned *, size_t))                                                             \
    X(rocrand_generate_uniform, (generator_t, float *, size_t))                                                        \
    X(rocrand_generate_uniform_double, (generator_t, double *, size_t))                                                \
    X(rocrand_generate_normal, (generator_t, float *, size_t, float, float))                                           \
    X(rocrand_generate_log_normal, (generator_t, float *, size_t, float, float))                                       \
    X(rocrand_generate_poisson, (generator_t, unsigned *, size_t, double))
#define DECLARE(name, arguments) static int(*name) arguments;
FUNCTIONS(DECLARE)

#define DONE(call)                                                                                                     \
    do {                                                                                                               \
        int status_ = (call);                                                                                          \
        EXPECT(status_ == 0, "%s: rocRAND status %d", #call, status_);                                                 \
    } while (0)

enum { N = 1 << 16 };
static void *gpu;
static union {
    uint32_t u[N];
    float f[N];
    double d[N];
} host;

static generator_t generator(int kind, unsigned long long seed) {
    generator_t made;
    DONE(rocrand_create_generator(&made, kind));
    if (kind != SOBOL32)
        DONE(rocrand_set_seed(made, seed));
    return made;
}

static void fetch(size_t bytes) { CHECK(hipMemcpy(&host, gpu, bytes, hipMemcpyDeviceToHost)); }

/* Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011). */
static void philox(uint64_t counter, uint64_t key, uint32_t out[4]) {
    uint32_t c[4] = {(uint32_t)counter, (uint32_t)(counter >> 32), 0, 0}, k[2] = {(uint32_t)key, (uint32_t)(key >> 32)};
    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)c[0] * 0xD2511F53, b = (uint64_t)c[2] * 0xCD9E8D57;
        uint32_t next[4] = {(uint32_t)(b >> 32) ^ c[1] ^ k[0], (uint32_t)b, (uint32_t)(a >> 32) ^ c[3] ^ k[1], (uint32_t)a};
        memcpy(c, next, sizeof c);
        k[0] += 0x9E3779B9;
        k[1] += 0xBB67AE85;
    }
    memcpy(out, c, sizeof c);
}

static void philox_exactly(unsigned long long seed) {
    uint32_t expected[4];
    // The paper's known answer.
    philox(0, 0, expected);
    EXPECT(expected[0] == 0x6627e8d5 && expected[3] == 0x9b00dbd8, "the check's own Philox gives %#x", expected[0]);
    generator_t philox_generator = generator(PHILOX, seed);
    DONE(rocrand_generate(philox_generator, gpu, N));
    fetch(N * 4);
    for (uint32_t i = 0; i < N; i++) {
        if (i % 4 == 0)
            philox(i / 4, seed, expected);
        EXPECT(host.u[i] == expected[i % 4], "seed %llu: number %u is %#x, expected %#x", seed, i, host.u[i], expected[i % 4]);
    }
    DONE(rocrand_destroy_generator(philox_generator));
}

/* The first Sobol dimension: the bits of the Gray code of the index, reversed. */
static void sobol_exactly(void) {
    generator_t sobol = generator(SOBOL32, 0);
    DONE(rocrand_generate(sobol, gpu, N));
    fetch(N * 4);
    for (uint32_t i = 0; i < N; i++) {
        uint32_t gray = i ^ i >> 1, expected = 0;
        for (int bit = 0; bit < 32; bit++)
            expected |= (gray >> bit & 1) << (31 - bit);
        EXPECT(host.u[i] == expected, "point %u is %#x, expected %#x", i, host.u[i], expected);
    }
    DONE(rocrand_destroy_generator(sobol));
}

/* Five standard deviations of the mean of N numbers. */
static void moments(const char *what, const double *values, double mean, double variance) {
    double sum = 0, squares = 0;
    for (int i = 0; i < N; i++) {
        sum += values[i];
        squares += (values[i] - mean) * (values[i] - mean);
    }
    EXPECT(fabs(sum / N - mean) < 5 * sqrt(variance / N), "%s: mean %g, expected %g", what, sum / N, mean);
    EXPECT(fabs(squares / N / variance - 1) < 0.1, "%s: variance %g, expected %g", what, squares / N, variance);
}

static void statistics(int kind) {
    static double values[N];
    generator_t a = generator(kind, 1234567), b = generator(kind, 1234567);
    // Each of the four bytes is evenly distributed: chi square of 255 degrees of freedom, five standard deviations.
    static uint32_t first[N];
    DONE(rocrand_generate(a, gpu, N));
    fetch(N * 4);
    memcpy(first, host.u, sizeof first);
    for (int shift = 0; shift < 32; shift += 8) {
        unsigned counts[256] = {0};
        double chi = 0;
        for (int i = 0; i < N; i++)
            counts[first[i] >> shift & 255]++;
        for (int i = 0; i < 256; i++)
            chi += (counts[i] - N / 256.0) * (counts[i] - N / 256.0) / (N / 256.0);
        EXPECT(fabs(chi - 255) < 5 * sqrt(2 * 255), "generator %d, byte %d: chi square %g", kind, shift / 8, chi);
    }
    // One seed, one sequence, which goes on and does not repeat.
    DONE(rocrand_generate(b, gpu, N));
    fetch(N * 4);
    EXPECT(memcmp(first, host.u, sizeof first) == 0, "generator %d: one seed, two sequences", kind);
    DONE(rocrand_generate(b, gpu, N));
    fetch(N * 4);
    unsigned same = 0;
    for (int i = 0; i < N; i++)
        same += first[i] == host.u[i];
    EXPECT(same < 10, "generator %d: %u numbers again", kind, same);

    DONE(rocrand_generate_uniform(a, gpu, N));
    fetch(N * 4);
    for (int i = 0; i < N; i++) {
        values[i] = host.f[i];
        EXPECT(values[i] > 0 && values[i] <= 1, "uniform: %g", values[i]);
    }
    moments("uniform", values, 0.5, 1 / 12.0);
    DONE(rocrand_generate_normal(a, gpu, N, 3, 2));
    fetch(N * 4);
    for (int i = 0; i < N; i++)
        values[i] = host.f[i];
    moments("normal", values, 3, 4);
    DONE(rocrand_generate_uniform_double(a, gpu, N));
    fetch(N * 8);
    moments("uniform double", host.d, 0.5, 1 / 12.0);
    DONE(rocrand_generate_log_normal(a, gpu, N, 0.5f, 0.25f));
    fetch(N * 4);
    for (int i = 0; i < N; i++)
        values[i] = log(host.f[i]);
    moments("log of log-normal", values, 0.5, 0.0625);
    DONE(rocrand_generate_poisson(a, gpu, N, 7.5));
    fetch(N * 4);
    for (int i = 0; i < N; i++)
        values[i] = host.u[i];
    moments("Poisson", values, 7.5, 7.5);
    DONE(rocrand_destroy_generator(a));
    DONE(rocrand_destroy_generator(b));
}

int main(void) {
    void *library = dlopen("librocrand.so.1", RTLD_NOW);
    if (!library) {
        fprintf(stderr, "%s\n", dlerror());
        return 77;
    }
#define FIND(name, arguments)                                                                                          \
    *(void **)&name = dlsym(library, #name);                                                                           \
    EXPECT(name, "%s", dlerror());
    FUNCTIONS(FIND)
    gpu = device_memory(sizeof host);
    philox_exactly(0);
    philox_exactly(0x123456789abcdefull);
    sobol_exactly();
    statistics(MTGP32);
    statistics(PHILOX);
    // These two skip ahead by matrix powers in 131072 work-items first: minutes of interpretation.
    if (getenv("KFD_SIM_FULL")) {
        statistics(XORWOW);
        statistics(MRG32K3A);
    }
    CHECK(hipFree(gpu));
    return finish();
}
