// What stands between a decoder's products, in one pass over memory each where TensorFlow's ops take five: the root mean square norm, SwiGLU, biases and
// rotary positions. Results
// can be rounded to bfloat16 (nearest even) on the way, for a product that computes in it.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "thread_pool.h"

#ifdef ROW_OPS_SUPPORTED
namespace row_ops {

// Compiled for several processors and chosen when the addon is loaded.
#define FUSED_ROWS_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))

using Bf16 = uint16_t;
constexpr size_t kLanes = 16;             // partial sums, so that they can be in one vector
constexpr size_t kPartElements = 1 << 15;  // that a thread takes at once

inline float ToFloat(float v) { return v; }
inline float ToFloat(Bf16 v) {
  const uint32_t bits = static_cast<uint32_t>(v) << 16;
  float f;
  std::memcpy(&f, &bits, 4);
  return f;
}
inline void Store(float v, float *to) { *to = v; }
inline void Store(float v, Bf16 *to) {
  uint32_t bits;
  std::memcpy(&bits, &v, 4);
  *to = static_cast<Bf16>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

// e^x to 2e-7 relative, without branches (Cephes' polynomial); x is held within ±87.
inline float Exp(float x) {
  x = std::min(std::max(x, -87.0f), 87.0f);
  const float rounded = x * 1.44269504088896341f + 12582912.0f;  // the integer is in the low bits
  const float n = rounded - 12582912.0f;
  const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  int32_t bits;
  std::memcpy(&bits, &rounded, 4);
  const int32_t power = (bits - 0x4b400000 + 127) << 23;
  float scale;
  std::memcpy(&scale, &power, 4);
  return p * scale;
}

template <typename Out>
inline void NormRow(const float *x, const float *w, float eps, size_t width, Out *y, float *inverse) {
  float lanes[kLanes] = {};
  size_t i = 0;
  for (; i + kLanes <= width; i += kLanes)
    for (size_t lane = 0; lane < kLanes; lane++) lanes[lane] += x[i + lane] * x[i + lane];
  for (; i < width; i++) lanes[0] += x[i] * x[i];
  float sum = 0;
  for (float lane : lanes) sum += lane;
  const float r = 1.0f / std::sqrt(sum / static_cast<float>(width) + eps);
  *inverse = r;
  for (size_t c = 0; c < width; c++) Store(x[c] * r * w[c], y + c);
}

inline float Silu(float g) { return g / (1.0f + Exp(-g)); }

// Biases: [width] of gate and of up, or none.
template <typename In>
inline void SwigluRow(const In *gate, const In *up, const float *gate_bias, const float *up_bias, size_t width, In *y) {
  if (gate_bias == nullptr) {
    for (size_t c = 0; c < width; c++) Store(Silu(ToFloat(gate[c])) * ToFloat(up[c]), y + c);
  } else {
    for (size_t c = 0; c < width; c++) Store(Silu(ToFloat(gate[c]) + gate_bias[c]) * (ToFloat(up[c]) + up_bias[c]), y + c);
  }
}

FUSED_ROWS_CLONES inline void NormRows(const float *x, const float *w, float eps, size_t rows, size_t width, float *y, float *inverse) {
  for (size_t n = 0; n < rows; n++) NormRow(x + n * width, w, eps, width, y + n * width, inverse + n);
}
FUSED_ROWS_CLONES inline void NormRowsBf16(const float *x, const float *w, float eps, size_t rows, size_t width, Bf16 *y, float *inverse) {
  for (size_t n = 0; n < rows; n++) NormRow(x + n * width, w, eps, width, y + n * width, inverse + n);
}
FUSED_ROWS_CLONES inline void Swiglu(const float *gate, const float *up, const float *gate_bias, const float *up_bias, size_t rows, size_t width,
                                     float *y) {
  for (size_t n = 0; n < rows; n++) SwigluRow(gate + n * width, up + n * width, gate_bias, up_bias, width, y + n * width);
}
FUSED_ROWS_CLONES inline void SwigluBf16(const Bf16 *gate, const Bf16 *up, const float *gate_bias, const float *up_bias, size_t rows, size_t width,
                                         Bf16 *y) {
  for (size_t n = 0; n < rows; n++) SwigluRow(gate + n * width, up + n * width, gate_bias, up_bias, width, y + n * width);
}

// x + bias, widened
FUSED_ROWS_CLONES inline void WidenBias(const Bf16 *x, const float *bias, size_t rows, size_t width, float *y) {
  for (size_t n = 0; n < rows; n++)
    for (size_t c = 0; c < width; c++) y[n * width + c] = ToFloat(x[n * width + c]) + bias[c];
}

// Each head of a row by the row's angles: y[j] = x[j] · cos[j] + x[j ± D/2] · signed_sin[j]
FUSED_ROWS_CLONES inline void Rotary(const float *x, const float *cos, const float *signed_sin, size_t rows, size_t heads, size_t dim, float *y) {
  const size_t half = dim / 2;
  for (size_t n = 0; n < rows; n++) {
    const float *const c = cos + n * dim, *const s = signed_sin + n * dim;
    for (size_t h = 0; h < heads; h++) {
      const float *const from = x + (n * heads + h) * dim;
      float *const to = y + (n * heads + h) * dim;
      for (size_t j = 0; j < half; j++) to[j] = from[j] * c[j] + from[j + half] * s[j];
      for (size_t j = half; j < dim; j++) to[j] = from[j] * c[j] + from[j - half] * s[j];
    }
  }
}

// Calls part(begin, end) for ranges of `count` things of `size` elements each, on the threads of the pool.
template <typename Part>
inline void InParts(size_t count, size_t size, const Part &part) {
  const size_t each = std::max<size_t>(1, kPartElements / std::max<size_t>(1, size));
  const int parts = static_cast<int>((count + each - 1) / each);
  Pool::Shared().Run(parts, [&](int i) { part(i * each, std::min(count, (i + 1) * each)); });
}

}  // namespace row_ops
#endif
