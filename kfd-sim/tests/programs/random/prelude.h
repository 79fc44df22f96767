// What every random program starts with: one spelling of types and address spaces for OpenCL C and C, and operations that
// are defined for all operands, so that no program has undefined behaviour (signed arithmetic wraps by -fwrapv).

typedef signed char i8;
typedef unsigned char u8;
typedef short i16;
typedef unsigned short u16;
typedef int i32;
typedef unsigned int u32;
typedef float f32;
typedef double f64;
// 64 bits in OpenCL C and on the hosts that this runs on.
typedef long i64;
typedef unsigned long u64;
#ifdef __OPENCL_C_VERSION__
#define TABLE __constant
#define MEM __global
#define LDS __local
#else
#define TABLE static const
#define MEM
#define LDS
#endif
#define NOINLINE __attribute__((noinline))

typedef i16 i16x2 __attribute__((ext_vector_type(2)));
typedef u16 u16x2 __attribute__((ext_vector_type(2)));
typedef u8 u8x4 __attribute__((ext_vector_type(4)));
typedef i32 i32x4 __attribute__((ext_vector_type(4)));
typedef u64 u64x2 __attribute__((ext_vector_type(2)));
typedef f32 f32x2 __attribute__((ext_vector_type(2)));
typedef f64 f64x2 __attribute__((ext_vector_type(2)));

#define DIVISION(T, HOW)                                                           \
  HOW static T div_##T(T a, T b) { return b == 0 || b == (T)-1 ? a : (T)(a / b); } \
  HOW static T mod_##T(T a, T b) { return b == 0 || b == (T)-1 ? b : (T)(a % b); }
DIVISION(i8, ) DIVISION(u8, ) DIVISION(i16, ) DIVISION(u16, ) DIVISION(i32, )
// LLVM 14 divides in 24 bits when it knows that a 64-bit dividend has 32 bits and the divisor 16, which is wrong; the
// number of sign bits misleads it for unsigned operands. So these do not let it know.
#define OPAQUE __attribute__((noinline, optnone))
DIVISION(u32, OPAQUE) DIVISION(i64, OPAQUE) DIVISION(u64, OPAQUE)

// Truncation of what fits, with a margin; else a constant.
#define CONVERSION(T, low, high)                                               \
  static T T##_of_f32(f32 x) { return x > (f32)(low) && x < (f32)(high) ? (T)x : (T)3; } \
  static T T##_of_f64(f64 x) { return x > (low) && x < (high) ? (T)x : (T)5; }
CONVERSION(i8, -128.0, 127.0) CONVERSION(u8, -1.0, 255.0)
CONVERSION(i16, -32768.0, 32767.0) CONVERSION(u16, -1.0, 65535.0)
CONVERSION(i32, -2147483000.0, 2147483000.0) CONVERSION(u32, -1.0, 4294967000.0)
CONVERSION(i64, -9.2e18, 9.2e18) CONVERSION(u64, -1.0, 1.8e19)

union word64 { u64 bits; f64 value; };
union word32 { u32 bits; f32 value; };
// Any bit pattern as a number, but NaNs' payloads are not compared.
static f64 any_f64(u64 bits) { union word64 w; w.bits = bits; return w.value; }
static f32 any_f32(u64 bits) { union word32 w; w.bits = (u32)bits; return w.value; }
// Numbers of moderate size.
static f64 some_f64(u64 bits) { return (f64)((i64)bits >> 20) * 0.0009765625 / (f64)(1 + (bits & 4095)); }
static f32 some_f32(u64 bits) { return (f32)((i32)(bits >> 8) >> 6) * 0.0625f; }
static u64 bits_f64(f64 x) { union word64 w; w.value = x; return x != x ? 1 : w.bits; }
static u64 bits_f32(f32 x) { union word32 w; w.value = x; return x != x ? 1 : w.bits; }

// 64-bit words of a work-item: input, output (24 results, the 8 of LDS, 16 that the program uses as memory), LDS.
enum { INPUTS = 16, RESULTS = 24, SHARED = 8, OUTPUTS = 48 };
