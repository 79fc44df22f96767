// The thirty computations of the PolyBench/C 4.2 suite, written from their mathematical specification, for the GPU (as
// OpenCL C) and for the host (as C) from this one file. Every work-item solves a problem of its own: WORDS elements
// of type T, filled with its input by the test. Defined from outside: T, and INTEGER for the integer types.

#ifdef __OPENCL_C_VERSION__
#ifndef MEM
#define MEM __global
#endif
#define SQRT_F32(x) __builtin_sqrtf(x)
#define SQRT_F64(x) __builtin_sqrt(x)
#else
#define MEM
#define SQRT_F32(x) __builtin_sqrtf(x)
#define SQRT_F64(x) __builtin_sqrt(x)
#endif

enum { N = 10, STEPS = 3, CUBE = 6, MATRICES = 6, VECTORS = 6 };
#define WORDS (MATRICES * N * N + VECTORS * N)

typedef MEM T *Row;
typedef MEM T (*Matrix)[N];
typedef MEM T (*Cube)[CUBE][CUBE];

#define MATRIX(name, at) Matrix name = (Matrix)(d + (at) * N * N)
#define VECTOR(name, at) Row name = d + MATRICES * N * N + (at) * N
#define FOR(i, from, to) for (int i = (from); i < (to); i++)
#define DOWN(i, from, to) for (int i = (from); i >= (to); i--)

#ifdef INTEGER
// No division by zero, none that overflows; a root that only has to be a deterministic function.
static T divide(T a, T b) { return b == 0 || b == (T)-1 ? a : (T)(a / b); }
static T root(T x) {
  T r = 0;
  for (T bit = (T)1 << (sizeof(T) * 4 - 2); bit != 0; bit >>= 1) {
    if ((T)((r + bit) * (r + bit)) <= x) r += bit;
  }
  return r;
}
#define K(x) ((T)((x) * 64))
#else
static T divide(T a, T b) { return a / b; }
static T root(T x) { return sizeof(T) == 4 ? (T)SQRT_F32((float)x) : (T)SQRT_F64((double)x); }
#define K(x) ((T)(x))
#endif

// ---- BLAS ----

static void gemm(Row d) {
  MATRIX(A, 0); MATRIX(B, 1); MATRIX(C, 2);
  T alpha = K(1.5), beta = K(1.2);
  FOR(i, 0, N) {
    FOR(j, 0, N) C[i][j] *= beta;
    FOR(k, 0, N) FOR(j, 0, N) C[i][j] += alpha * A[i][k] * B[k][j];
  }
}

static void gemver(Row d) {
  MATRIX(A, 0);
  VECTOR(u1, 0); VECTOR(v1, 1); VECTOR(u2, 2); VECTOR(v2, 3); VECTOR(w, 4); VECTOR(x, 5);
  Row y = d + N * N, z = y + N;
  T alpha = K(1.5), beta = K(1.2);
  FOR(i, 0, N) FOR(j, 0, N) A[i][j] = A[i][j] + u1[i] * v1[j] + u2[i] * v2[j];
  FOR(i, 0, N) FOR(j, 0, N) x[i] = x[i] + beta * A[j][i] * y[j];
  FOR(i, 0, N) x[i] = x[i] + z[i];
  FOR(i, 0, N) FOR(j, 0, N) w[i] = w[i] + alpha * A[i][j] * x[j];
}

static void gesummv(Row d) {
  MATRIX(A, 0); MATRIX(B, 1);
  VECTOR(x, 0); VECTOR(y, 1); VECTOR(tmp, 2);
  FOR(i, 0, N) {
    tmp[i] = 0;
    y[i] = 0;
    FOR(j, 0, N) {
      tmp[i] = A[i][j] * x[j] + tmp[i];
      y[i] = B[i][j] * x[j] + y[i];
    }
    y[i] = K(1.5) * tmp[i] + K(1.2) * y[i];
  }
}

static void symm(Row d) {
  MATRIX(A, 0); MATRIX(B, 1); MATRIX(C, 2);
  T alpha = K(1.5), beta = K(1.2);
  FOR(i, 0, N) FOR(j, 0, N) {
    T sum = 0;
    FOR(k, 0, i) {
      C[k][j] += alpha * B[i][j] * A[i][k];
      sum += B[k][j] * A[i][k];
    }
    C[i][j] = beta * C[i][j] + alpha * B[i][j] * A[i][i] + alpha * sum;
  }
}

static void syr2k(Row d) {
  MATRIX(A, 0); MATRIX(B, 1); MATRIX(C, 2);
  T alpha = K(1.5), beta = K(1.2);
  FOR(i, 0, N) {
    FOR(j, 0, i + 1) C[i][j] *= beta;
    FOR(k, 0, N) FOR(j, 0, i + 1) C[i][j] += A[j][k] * alpha * B[i][k] + B[j][k] * alpha * A[i][k];
  }
}

static void syrk(Row d) {
  MATRIX(A, 0); MATRIX(C, 1);
  T alpha = K(1.5), beta = K(1.2);
  FOR(i, 0, N) {
    FOR(j, 0, i + 1) C[i][j] *= beta;
    FOR(k, 0, N) FOR(j, 0, i + 1) C[i][j] += alpha * A[i][k] * A[j][k];
  }
}

static void trmm(Row d) {
  MATRIX(A, 0); MATRIX(B, 1);
  FOR(i, 0, N) FOR(j, 0, N) {
    FOR(k, i + 1, N) B[i][j] += A[k][i] * B[k][j];
    B[i][j] = K(1.5) * B[i][j];
  }
}

// ---- Products ----

static void product(Matrix A, Matrix B, Matrix C) {
  FOR(i, 0, N) FOR(j, 0, N) {
    T sum = 0;
    FOR(k, 0, N) sum += A[i][k] * B[k][j];
    C[i][j] = sum;
  }
}

static void two_mm(Row d) {
  MATRIX(A, 0); MATRIX(B, 1); MATRIX(C, 2); MATRIX(D, 3); MATRIX(tmp, 4);
  FOR(i, 0, N) FOR(j, 0, N) {
    tmp[i][j] = 0;
    FOR(k, 0, N) tmp[i][j] += K(1.5) * A[i][k] * B[k][j];
  }
  FOR(i, 0, N) FOR(j, 0, N) {
    D[i][j] *= K(1.2);
    FOR(k, 0, N) D[i][j] += tmp[i][k] * C[k][j];
  }
}

static void three_mm(Row d) {
  MATRIX(A, 0); MATRIX(B, 1); MATRIX(C, 2); MATRIX(D, 3); MATRIX(E, 4); MATRIX(F, 5);
  product(A, B, E);
  product(C, D, F);
  product(E, F, A);
}

static void atax(Row d) {
  MATRIX(A, 0);
  VECTOR(x, 0); VECTOR(y, 1); VECTOR(tmp, 2);
  FOR(i, 0, N) y[i] = 0;
  FOR(i, 0, N) {
    tmp[i] = 0;
    FOR(j, 0, N) tmp[i] = tmp[i] + A[i][j] * x[j];
    FOR(j, 0, N) y[j] = y[j] + A[i][j] * tmp[i];
  }
}

static void bicg(Row d) {
  MATRIX(A, 0);
  VECTOR(s, 0); VECTOR(q, 1); VECTOR(p, 2); VECTOR(r, 3);
  FOR(i, 0, N) s[i] = 0;
  FOR(i, 0, N) {
    q[i] = 0;
    FOR(j, 0, N) {
      s[j] = s[j] + r[i] * A[i][j];
      q[i] = q[i] + A[i][j] * p[j];
    }
  }
}

static void doitgen(Row d) {
  Cube A = (Cube)d;
  MEM T (*C4)[CUBE] = (MEM T (*)[CUBE])(d + CUBE * CUBE * CUBE);
  FOR(r, 0, CUBE) FOR(q, 0, CUBE) {
    T sum[CUBE];
    FOR(p, 0, CUBE) {
      sum[p] = 0;
      FOR(s, 0, CUBE) sum[p] += A[r][q][s] * C4[s][p];
    }
    FOR(p, 0, CUBE) A[r][q][p] = sum[p];
  }
}

static void mvt(Row d) {
  MATRIX(A, 0);
  VECTOR(x1, 0); VECTOR(x2, 1); VECTOR(y1, 2); VECTOR(y2, 3);
  FOR(i, 0, N) FOR(j, 0, N) x1[i] = x1[i] + A[i][j] * y1[j];
  FOR(i, 0, N) FOR(j, 0, N) x2[i] = x2[i] + A[j][i] * y2[j];
}

// ---- Solvers ----

// Symmetric and dominated by its diagonal.
static void make_definite(Matrix A) {
  FOR(i, 0, N) {
    FOR(j, 0, i) A[i][j] = A[j][i];
    A[i][i] = A[i][i] + K(2 * N);
  }
}

static void cholesky(Row d) {
  MATRIX(A, 0);
  make_definite(A);
  FOR(i, 0, N) {
    FOR(j, 0, i) {
      FOR(k, 0, j) A[i][j] -= A[i][k] * A[j][k];
      A[i][j] = divide(A[i][j], A[j][j]);
    }
    FOR(k, 0, i) A[i][i] -= A[i][k] * A[i][k];
    A[i][i] = root(A[i][i]);
  }
}

static void durbin(Row d) {
  VECTOR(r, 0); VECTOR(out, 1);
  T y[N], z[N];
  T alpha = -r[0], beta = K(1);
  y[0] = -r[0];
  FOR(k, 1, N) {
    beta = (K(1) - alpha * alpha) * beta;
    T sum = 0;
    FOR(i, 0, k) sum += r[k - i - 1] * y[i];
    alpha = divide(-(r[k] + sum), beta);
    FOR(i, 0, k) z[i] = y[i] + alpha * y[k - i - 1];
    FOR(i, 0, k) y[i] = z[i];
    y[k] = alpha;
  }
  FOR(i, 0, N) out[i] = y[i];
}

static void gramschmidt(Row d) {
  MATRIX(A, 0); MATRIX(R, 1); MATRIX(Q, 2);
  FOR(k, 0, N) {
    T norm = 0;
    FOR(i, 0, N) norm += A[i][k] * A[i][k];
    R[k][k] = root(norm);
    FOR(i, 0, N) Q[i][k] = divide(A[i][k], R[k][k]);
    FOR(j, k + 1, N) {
      R[k][j] = 0;
      FOR(i, 0, N) R[k][j] += Q[i][k] * A[i][j];
      FOR(i, 0, N) A[i][j] = A[i][j] - Q[i][k] * R[k][j];
    }
  }
}

static void lu(Row d) {
  MATRIX(A, 0);
  make_definite(A);
  FOR(i, 0, N) {
    FOR(j, 0, i) {
      FOR(k, 0, j) A[i][j] -= A[i][k] * A[k][j];
      A[i][j] = divide(A[i][j], A[j][j]);
    }
    FOR(j, i, N) FOR(k, 0, i) A[i][j] -= A[i][k] * A[k][j];
  }
}

static void ludcmp(Row d) {
  MATRIX(A, 0);
  VECTOR(b, 0); VECTOR(x, 1); VECTOR(y, 2);
  lu(d);
  FOR(i, 0, N) {
    T w = b[i];
    FOR(j, 0, i) w -= A[i][j] * y[j];
    y[i] = w;
  }
  DOWN(i, N - 1, 0) {
    T w = y[i];
    FOR(j, i + 1, N) w -= A[i][j] * x[j];
    x[i] = divide(w, A[i][i]);
  }
}

static void trisolv(Row d) {
  MATRIX(L, 0);
  VECTOR(x, 0); VECTOR(b, 1);
  FOR(i, 0, N) {
    x[i] = b[i];
    FOR(j, 0, i) x[i] -= L[i][j] * x[j];
    x[i] = divide(x[i], L[i][i]);
  }
}

// ---- Data mining ----

static void column_means(Matrix data, Row mean) {
  FOR(j, 0, N) {
    mean[j] = 0;
    FOR(i, 0, N) mean[j] += data[i][j];
    mean[j] = divide(mean[j], (T)N);
  }
}

static void correlation(Row d) {
  MATRIX(data, 0); MATRIX(corr, 1);
  VECTOR(mean, 0); VECTOR(deviation, 1);
  column_means(data, mean);
  FOR(j, 0, N) {
    T sum = 0;
    FOR(i, 0, N) sum += (data[i][j] - mean[j]) * (data[i][j] - mean[j]);
    sum = root(divide(sum, (T)N));
    // A column that hardly varies.
    deviation[j] = sum <= K(0.1) ? K(1) : sum;
  }
  FOR(i, 0, N) FOR(j, 0, N) {
    data[i][j] -= mean[j];
    data[i][j] = divide(data[i][j], root((T)N) * deviation[j]);
  }
  FOR(i, 0, N - 1) {
    corr[i][i] = K(1);
    FOR(j, i + 1, N) {
      corr[i][j] = 0;
      FOR(k, 0, N) corr[i][j] += data[k][i] * data[k][j];
      corr[j][i] = corr[i][j];
    }
  }
  corr[N - 1][N - 1] = K(1);
}

static void covariance(Row d) {
  MATRIX(data, 0); MATRIX(cov, 1);
  VECTOR(mean, 0);
  column_means(data, mean);
  FOR(i, 0, N) FOR(j, 0, N) data[i][j] -= mean[j];
  FOR(i, 0, N) FOR(j, i, N) {
    cov[i][j] = 0;
    FOR(k, 0, N) cov[i][j] += data[k][i] * data[k][j];
    cov[i][j] = divide(cov[i][j], (T)(N - 1));
    cov[j][i] = cov[i][j];
  }
}

// ---- Medley ----

// Recursive edge detection: two passes along rows, then two along columns. Coefficients for a smoothing of 0.25.
static void deriche(Row d) {
  MATRIX(in, 0); MATRIX(out, 1); MATRIX(y1, 2); MATRIX(y2, 3);
  T a1 = K(0.1209), a2 = K(-0.0471), a3 = K(0.1209), a4 = K(-0.0604), b1 = K(1.5576), b2 = K(-0.6065);
  FOR(i, 0, N) {
    T ym1 = 0, ym2 = 0, xm1 = 0;
    FOR(j, 0, N) {
      y1[i][j] = a1 * in[i][j] + a2 * xm1 + b1 * ym1 + b2 * ym2;
      xm1 = in[i][j];
      ym2 = ym1;
      ym1 = y1[i][j];
    }
    T yp1 = 0, yp2 = 0, xp1 = 0, xp2 = 0;
    DOWN(j, N - 1, 0) {
      y2[i][j] = a3 * xp1 + a4 * xp2 + b1 * yp1 + b2 * yp2;
      xp2 = xp1;
      xp1 = in[i][j];
      yp2 = yp1;
      yp1 = y2[i][j];
    }
  }
  FOR(i, 0, N) FOR(j, 0, N) out[i][j] = y1[i][j] + y2[i][j];
  FOR(j, 0, N) {
    T tm1 = 0, ym1 = 0, ym2 = 0;
    FOR(i, 0, N) {
      y1[i][j] = a1 * out[i][j] + a2 * tm1 + b1 * ym1 + b2 * ym2;
      tm1 = out[i][j];
      ym2 = ym1;
      ym1 = y1[i][j];
    }
    T tp1 = 0, tp2 = 0, yp1 = 0, yp2 = 0;
    DOWN(i, N - 1, 0) {
      y2[i][j] = a3 * tp1 + a4 * tp2 + b1 * yp1 + b2 * yp2;
      tp2 = tp1;
      tp1 = out[i][j];
      yp2 = yp1;
      yp1 = y2[i][j];
    }
  }
  FOR(i, 0, N) FOR(j, 0, N) out[i][j] = y1[i][j] + y2[i][j];
}

static void floyd_warshall(Row d) {
  MATRIX(path, 0);
  FOR(k, 0, N) FOR(i, 0, N) FOR(j, 0, N) {
    T via = path[i][k] + path[k][j];
    path[i][j] = path[i][j] < via ? path[i][j] : via;
  }
}

// The largest number of matching pairs of a sequence of four bases.
static void nussinov(Row d) {
  MATRIX(table, 0);
  VECTOR(seed, 0);
  int base[N];
  FOR(i, 0, N) base[i] = (int)(seed[i] * K(4)) & 3;
  FOR(i, 0, N) FOR(j, 0, N) table[i][j] = 0;
  DOWN(i, N - 1, 0) FOR(j, i + 1, N) {
    T best = table[i][j];
    if (best < table[i][j - 1]) best = table[i][j - 1];
    if (i + 1 < N && best < table[i + 1][j]) best = table[i + 1][j];
    if (i + 1 < N) {
      T pair = table[i + 1][j - 1] + (i < j - 1 && base[i] + base[j] == 3 ? 1 : 0);
      if (best < pair) best = pair;
    }
    FOR(k, i + 1, j) {
      T split = table[i][k] + table[k + 1][j];
      if (best < split) best = split;
    }
    table[i][j] = best;
  }
}

// ---- Stencils ----

// Alternating directions: each half step solves tridiagonal systems along columns, then along rows.
static void adi(Row d) {
  MATRIX(u, 0); MATRIX(v, 1); MATRIX(p, 2); MATRIX(q, 3);
  T a = K(-0.35), b = K(1.7), c = a, m = K(-0.6), e = K(2.2), f = m;
  FOR(t, 0, STEPS) {
    FOR(i, 1, N - 1) {
      v[0][i] = K(1);
      p[i][0] = 0;
      q[i][0] = v[0][i];
      FOR(j, 1, N - 1) {
        p[i][j] = divide(-c, a * p[i][j - 1] + b);
        T right = -m * u[j][i - 1] + (K(1) + K(2) * m) * u[j][i] - f * u[j][i + 1] - a * q[i][j - 1];
        q[i][j] = divide(right, a * p[i][j - 1] + b);
      }
      v[N - 1][i] = K(1);
      DOWN(j, N - 2, 1) v[j][i] = p[i][j] * v[j + 1][i] + q[i][j];
    }
    FOR(i, 1, N - 1) {
      u[i][0] = K(1);
      p[i][0] = 0;
      q[i][0] = u[i][0];
      FOR(j, 1, N - 1) {
        p[i][j] = divide(-f, m * p[i][j - 1] + e);
        T right = -a * v[i - 1][j] + (K(1) + K(2) * a) * v[i][j] - c * v[i + 1][j] - m * q[i][j - 1];
        q[i][j] = divide(right, m * p[i][j - 1] + e);
      }
      u[i][N - 1] = K(1);
      DOWN(j, N - 2, 1) u[i][j] = p[i][j] * u[i][j + 1] + q[i][j];
    }
  }
}

static void fdtd_2d(Row d) {
  MATRIX(ex, 0); MATRIX(ey, 1); MATRIX(hz, 2);
  FOR(t, 0, STEPS) {
    FOR(j, 0, N) ey[0][j] = K(t);
    FOR(i, 1, N) FOR(j, 0, N) ey[i][j] -= K(0.5) * (hz[i][j] - hz[i - 1][j]);
    FOR(i, 0, N) FOR(j, 1, N) ex[i][j] -= K(0.5) * (hz[i][j] - hz[i][j - 1]);
    FOR(i, 0, N - 1) FOR(j, 0, N - 1) hz[i][j] -= K(0.7) * (ex[i][j + 1] - ex[i][j] + ey[i + 1][j] - ey[i][j]);
  }
}

static void heat_step(Cube A, Cube B) {
  FOR(i, 1, CUBE - 1) FOR(j, 1, CUBE - 1) FOR(k, 1, CUBE - 1) {
    B[i][j][k] = K(0.125) * (A[i + 1][j][k] - K(2) * A[i][j][k] + A[i - 1][j][k]) +
                 K(0.125) * (A[i][j + 1][k] - K(2) * A[i][j][k] + A[i][j - 1][k]) +
                 K(0.125) * (A[i][j][k + 1] - K(2) * A[i][j][k] + A[i][j][k - 1]) + A[i][j][k];
  }
}

static void heat_3d(Row d) {
  Cube A = (Cube)d, B = (Cube)(d + CUBE * CUBE * CUBE);
  FOR(t, 0, STEPS) {
    heat_step(A, B);
    heat_step(B, A);
  }
}

static void jacobi_1d(Row d) {
  VECTOR(A, 0); VECTOR(B, 1);
  FOR(t, 0, STEPS) {
    FOR(i, 1, N - 1) B[i] = K(0.33333) * (A[i - 1] + A[i] + A[i + 1]);
    FOR(i, 1, N - 1) A[i] = K(0.33333) * (B[i - 1] + B[i] + B[i + 1]);
  }
}

static void jacobi_2d(Row d) {
  MATRIX(A, 0); MATRIX(B, 1);
  FOR(t, 0, STEPS) {
    FOR(i, 1, N - 1) FOR(j, 1, N - 1)
      B[i][j] = K(0.2) * (A[i][j] + A[i][j - 1] + A[i][1 + j] + A[1 + i][j] + A[i - 1][j]);
    FOR(i, 1, N - 1) FOR(j, 1, N - 1)
      A[i][j] = K(0.2) * (B[i][j] + B[i][j - 1] + B[i][1 + j] + B[1 + i][j] + B[i - 1][j]);
  }
}

static void seidel_2d(Row d) {
  MATRIX(A, 0);
  FOR(t, 0, STEPS) FOR(i, 1, N - 1) FOR(j, 1, N - 1)
    A[i][j] = divide(A[i - 1][j - 1] + A[i - 1][j] + A[i - 1][j + 1] + A[i][j - 1] + A[i][j] + A[i][j + 1] +
                         A[i + 1][j - 1] + A[i + 1][j] + A[i + 1][j + 1],
                     (T)9);
}

#ifdef __OPENCL_C_VERSION__
#define PROGRAM(name)                                                                                     \
  kernel void run_##name(__global T *data) {                                                              \
    name(data + (__builtin_amdgcn_workgroup_id_x() * 64 + __builtin_amdgcn_workitem_id_x()) * WORDS);     \
  }
#else
#define PROGRAM(name)                                                                                     \
  void run_##name(T *data, int problems) {                                                                \
    FOR(n, 0, problems) name(data + n * WORDS);                                                           \
  }
#endif

PROGRAM(gemm) PROGRAM(gemver) PROGRAM(gesummv) PROGRAM(symm) PROGRAM(syr2k) PROGRAM(syrk) PROGRAM(trmm)
PROGRAM(two_mm) PROGRAM(three_mm) PROGRAM(atax) PROGRAM(bicg) PROGRAM(doitgen) PROGRAM(mvt)
PROGRAM(cholesky) PROGRAM(durbin) PROGRAM(gramschmidt) PROGRAM(lu) PROGRAM(ludcmp) PROGRAM(trisolv)
PROGRAM(correlation) PROGRAM(covariance)
PROGRAM(deriche) PROGRAM(floyd_warshall) PROGRAM(nussinov)
PROGRAM(adi) PROGRAM(fdtd_2d) PROGRAM(heat_3d) PROGRAM(jacobi_1d) PROGRAM(jacobi_2d) PROGRAM(seidel_2d)
