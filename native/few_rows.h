// x Wᵀ for few rows of x: what a decode step consists of. The time goes into reading W once, so W is read as it is stored (float32, bfloat16 or
// int8 with a scale per row), a block of rows at a time that stays in the first cache while every row of x meets it.
//
// A block of a narrower type is widened into that cache first: to bfloat16 pairs where the processor multiplies those (AVX512-BF16; sums in float32),
// else to float32. Sums of products are in an order of their own, so results differ from another kernel's by rounding.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include "thread_pool.h"

namespace row_ops {

enum class Type { kFloat32, kBfloat16, kInt8 };

#ifdef ROW_OPS_SUPPORTED

enum class Instructions { kNone, kAvx2, kAvx512, kAvx512Bf16 };

inline Instructions BestInstructions() {
  static const Instructions best = [] {
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")) return Instructions::kAvx512Bf16;
    if (__builtin_cpu_supports("avx512f")) return Instructions::kAvx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return Instructions::kAvx2;
    return Instructions::kNone;
  }();
  return best;
}

constexpr size_t kBlock = 4;        // rows of W that are taken together
constexpr size_t kVector = 32;      // every length is padded to a multiple of it
constexpr size_t kPartRows = 64;    // rows of W that a thread takes at once
constexpr size_t kAlone = 1 << 16;  // weights of a product that is not worth a second thread

// Sums of products of kBlock rows of w with `n` rows of x, of `k` elements each: out[row of x][row of w].
using Dot = void (*)(const void *w, size_t w_stride, const void *x, size_t x_stride, size_t k, size_t n, float *out);

#define FEW_ROWS_BF16 __attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16,fma")))
#define FEW_ROWS_AVX512 __attribute__((target("avx512f,fma")))
#define FEW_ROWS_AVX2 __attribute__((target("avx2,fma")))

// The sum of each of four vectors.
FEW_ROWS_AVX2 inline __m128 SumEach(__m256 a, __m256 b, __m256 c, __m256 d) {
  const __m256 sums = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
  return _mm_add_ps(_mm256_castps256_ps128(sums), _mm256_extractf128_ps(sums, 1));
}

FEW_ROWS_AVX512 inline __m256 Halved(__m512 v) {
  return _mm256_add_ps(_mm512_castps512_ps256(v), _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(v), 1)));
}

FEW_ROWS_AVX512 inline void StoreSums(const __m512 *sums, float *out) {
  _mm_storeu_ps(out, SumEach(Halved(sums[0]), Halved(sums[1]), Halved(sums[2]), Halved(sums[3])));
}

// A kernel multiplies kBlock rows of w with N rows of x. It has as many rows of x at once, `kMost`, as there are registers for their sums.

// bfloat16, and int8 weights that are widened in registers: worth it as long as no more rows of x need them than fit there.
template <typename Weight, int Most>
struct Bf16Kernel {
  using W = Weight;
  using X = uint16_t;
  static constexpr size_t kMost = Most;

  FEW_ROWS_BF16 static inline __m512bh Load(const uint16_t *at) { return (__m512bh)_mm512_loadu_si512(at); }
  FEW_ROWS_BF16 static inline __m512bh Load(const int8_t *at) {
    const __m512 low = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i *>(at))));
    const __m512 high = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i *>(at + 16))));
    return _mm512_cvtne2ps_pbh(high, low);
  }

  template <int N>
  FEW_ROWS_BF16 static void Run(const W *w, size_t w_stride, const X *x, size_t x_stride, size_t k, float *out) {
    __m512 sums[N][kBlock];
    for (int n = 0; n < N; n++)
      for (size_t r = 0; r < kBlock; r++) sums[n][r] = _mm512_setzero_ps();
    for (size_t i = 0; i < k; i += 32) {
      __m512bh rows[kBlock];
      for (size_t r = 0; r < kBlock; r++) rows[r] = Load(w + r * w_stride + i);
      for (int n = 0; n < N; n++) {
        const __m512bh value = Load(x + n * x_stride + i);
        for (size_t r = 0; r < kBlock; r++) sums[n][r] = _mm512_dpbf16_ps(sums[n][r], rows[r], value);
      }
    }
    for (int n = 0; n < N; n++) StoreSums(sums[n], out + n * kBlock);
  }
};

struct Avx512Kernel {
  using W = float;
  using X = float;
  static constexpr size_t kMost = 6;

  template <int N>
  FEW_ROWS_AVX512 static void Run(const W *w, size_t w_stride, const X *x, size_t x_stride, size_t k, float *out) {
    __m512 sums[N][kBlock];
    for (int n = 0; n < N; n++)
      for (size_t r = 0; r < kBlock; r++) sums[n][r] = _mm512_setzero_ps();
    for (size_t i = 0; i < k; i += 16) {
      __m512 rows[kBlock];
      for (size_t r = 0; r < kBlock; r++) rows[r] = _mm512_loadu_ps(w + r * w_stride + i);
      for (int n = 0; n < N; n++) {
        const __m512 value = _mm512_loadu_ps(x + n * x_stride + i);
        for (size_t r = 0; r < kBlock; r++) sums[n][r] = _mm512_fmadd_ps(rows[r], value, sums[n][r]);
      }
    }
    for (int n = 0; n < N; n++) StoreSums(sums[n], out + n * kBlock);
  }
};

struct Avx2Kernel {
  using W = float;
  using X = float;
  static constexpr size_t kMost = 2;

  template <int N>
  FEW_ROWS_AVX2 static void Run(const W *w, size_t w_stride, const X *x, size_t x_stride, size_t k, float *out) {
    __m256 sums[N][kBlock];
    for (int n = 0; n < N; n++)
      for (size_t r = 0; r < kBlock; r++) sums[n][r] = _mm256_setzero_ps();
    for (size_t i = 0; i < k; i += 8) {
      for (int n = 0; n < N; n++) {
        const __m256 value = _mm256_loadu_ps(x + n * x_stride + i);
        for (size_t r = 0; r < kBlock; r++) sums[n][r] = _mm256_fmadd_ps(_mm256_loadu_ps(w + r * w_stride + i), value, sums[n][r]);
      }
    }
    for (int n = 0; n < N; n++) _mm_storeu_ps(out + n * kBlock, SumEach(sums[n][0], sums[n][1], sums[n][2], sums[n][3]));
  }
};

// Rows of x by as many as the kernel takes, the rest by the kernel for the rest.
template <typename Kernel, size_t... N>
inline void DotsBy(std::index_sequence<N...>, const void *w, size_t w_stride, const void *x, size_t x_stride, size_t k, size_t n, float *out) {
  using Run = void (*)(const typename Kernel::W *, size_t, const typename Kernel::X *, size_t, size_t, float *);
  static constexpr Run kRuns[] = {Kernel::template Run<N + 1>...};
  for (size_t done = 0; done < n;) {
    const size_t rows = std::min(n - done, Kernel::kMost);
    kRuns[rows - 1](static_cast<const typename Kernel::W *>(w), w_stride, static_cast<const typename Kernel::X *>(x) + done * x_stride, x_stride, k,
                    out + done * kBlock);
    done += rows;
  }
}

template <typename Kernel>
inline void Dots(const void *w, size_t w_stride, const void *x, size_t x_stride, size_t k, size_t n, float *out) {
  DotsBy<Kernel>(std::make_index_sequence<Kernel::kMost>(), w, w_stride, x, x_stride, k, n, out);
}

constexpr size_t kInt8Rows = 4;

// `count` elements, widened; and zeros up to `padded`.
using Widen = void (*)(const void *from, void *to, size_t count, size_t padded);

template <size_t Bytes>
inline void Copy(const void *from, void *to, size_t count, size_t padded) {
  std::memcpy(to, from, count * Bytes);
  std::memset(static_cast<char *>(to) + count * Bytes, 0, (padded - count) * Bytes);
}

// Nearest even, as torch and oneDNN round.
FEW_ROWS_BF16 inline void FloatToBf16(const void *from, void *to, size_t count, size_t padded) {
  const float *const f = static_cast<const float *>(from);
  uint16_t *const t = static_cast<uint16_t *>(to);
  for (size_t i = 0; i < padded; i += 16) {
    const __mmask16 mask = i + 16 <= count ? 0xffff : i >= count ? 0 : static_cast<__mmask16>((1u << (count - i)) - 1);
    _mm256_storeu_si256(reinterpret_cast<__m256i *>(t + i), (__m256i)_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(mask, f + i)));
  }
}

FEW_ROWS_BF16 inline void Int8ToBf16(const void *from, void *to, size_t count, size_t padded) {
  const int8_t *const f = static_cast<const int8_t *>(from);
  uint16_t *const t = static_cast<uint16_t *>(to);
  for (size_t i = 0; i < padded; i += 32) {
    const __mmask32 mask = i + 32 <= count ? 0xffffffffu : static_cast<__mmask32>((1ull << (count - std::min(i, count))) - 1);
    const __m256i bytes = _mm256_maskz_loadu_epi8(mask, f + i);
    const __m512 low = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm256_castsi256_si128(bytes)));
    const __m512 high = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm256_extracti128_si256(bytes, 1)));
    _mm512_storeu_si512(t + i, (__m512i)_mm512_cvtne2ps_pbh(high, low));
  }
}

FEW_ROWS_AVX2 inline void Bf16ToFloat(const void *from, void *to, size_t count, size_t padded) {
  const uint16_t *const f = static_cast<const uint16_t *>(from);
  uint32_t *const t = static_cast<uint32_t *>(to);
  for (size_t i = 0; i < count; i++) t[i] = static_cast<uint32_t>(f[i]) << 16;
  for (size_t i = count; i < padded; i++) t[i] = 0;
}

FEW_ROWS_AVX2 inline void Int8ToFloat(const void *from, void *to, size_t count, size_t padded) {
  const int8_t *const f = static_cast<const int8_t *>(from);
  float *const t = static_cast<float *>(to);
  for (size_t i = 0; i < count; i++) t[i] = f[i];
  for (size_t i = count; i < padded; i++) t[i] = 0;
}

struct Product {
  const float *x;      // [rows, in]
  size_t rows;
  const void *w;       // [out, in]
  Type type;
  size_t out, in;
  const float *scale;  // [out], what int8 weights are multiplied with; else null
  float *y;            // [rows, out]
};

inline size_t BytesOf(Type type) { return type == Type::kFloat32 ? 4 : type == Type::kBfloat16 ? 2 : 1; }

// How the products are computed, by the processor.
struct Method {
  size_t bytes;  // of an element of what is multiplied
  Dot dots;
  Widen x, w;    // w: null where weights are multiplied as they are
};

inline Method MethodFor(Type type, size_t rows) {
  const Instructions best = BestInstructions();
  if (best == Instructions::kAvx512Bf16 && type == Type::kInt8 && rows <= kInt8Rows) {
    return {2, Dots<Bf16Kernel<int8_t, kInt8Rows>>, FloatToBf16, nullptr};
  }
  if (best == Instructions::kAvx512Bf16 && type != Type::kFloat32) {
    return {2, Dots<Bf16Kernel<uint16_t, 6>>, FloatToBf16, type == Type::kInt8 ? Int8ToBf16 : nullptr};
  }
  const Widen widen = type == Type::kInt8 ? Int8ToFloat : type == Type::kBfloat16 ? Bf16ToFloat : nullptr;
  return {4, best == Instructions::kAvx2 ? Dots<Avx2Kernel> : Dots<Avx512Kernel>, Copy<4>, widen};
}

// A buffer of each thread, for one product at a time.
inline char *Scratch(int which, size_t bytes) {
  thread_local std::vector<char> buffers[3];
  if (buffers[which].size() < bytes + 64) buffers[which].resize(bytes + 64);
  return reinterpret_cast<char *>((reinterpret_cast<uintptr_t>(buffers[which].data()) + 63) & ~uintptr_t{63});
}

inline void Multiply(const Product &p) {
  const Method method = MethodFor(p.type, p.rows);
  const size_t padded = (p.in + kVector - 1) / kVector * kVector;
  const size_t stored = BytesOf(p.type), row_bytes = padded * method.bytes;
  char *const x = Scratch(0, p.rows * row_bytes);
  for (size_t n = 0; n < p.rows; n++) method.x(p.x + n * p.in, x + n * row_bytes, p.in, padded);
  const Widen widen = method.w ? method.w : stored == 1 ? Copy<1> : stored == 2 ? Copy<2> : Copy<4>;
  const size_t block_bytes = padded * (method.w ? method.bytes : stored);  // of a row of W
  const auto part = [&](int index) {
    float *const sums = reinterpret_cast<float *>(Scratch(1, p.rows * kBlock * sizeof(float)));
    char *const block = Scratch(2, kBlock * block_bytes);
    const size_t end = std::min(p.out, (index + 1) * kPartRows);
    for (size_t first = index * kPartRows; first < end; first += kBlock) {
      const size_t count = std::min(kBlock, end - first);
      const char *w = static_cast<const char *>(p.w) + first * p.in * stored;
      if (method.w || padded != p.in || count < kBlock) {
        for (size_t r = 0; r < kBlock; r++) widen(w + std::min(r, count - 1) * p.in * stored, block + r * block_bytes, p.in, padded);
        w = block;
      }
      method.dots(w, padded, x, padded, padded, p.rows, sums);
      for (size_t n = 0; n < p.rows; n++) {
        for (size_t r = 0; r < count; r++) p.y[n * p.out + first + r] = sums[n * kBlock + r] * (p.scale ? p.scale[first + r] : 1.0f);
      }
    }
  };
  const int parts = static_cast<int>((p.out + kPartRows - 1) / kPartRows);
  if (p.out * p.in < kAlone) {
    for (int i = 0; i < parts; i++) part(i);
  } else {
    Pool::Shared().Run(parts, part);
  }
}

#endif  // ROW_OPS_SUPPORTED
}  // namespace row_ops
