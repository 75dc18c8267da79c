// Decoded pixels to the vision tower's patches, off the event loop: what resize-bicubic.ts and patchify.ts in src/model/qwen2_5_vl do,
// with the same bits, on libuv's thread pool. Links nothing, so it serves every backend.
//
// JavaScript computes what needs care (the filters' fixed-point weights, each byte's pixel value) and passes it; here is only the arithmetic
// over pixels. There is one vectorised loop, a weighted sum of rows (`SumOfRows`): the vertical pass is that loop, and the horizontal pass
// is it over strips of kStrip rows laid on their side. Written over one pixel at a time, the horizontal pass took 3 to 5 times longer.
#include <node_api.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <exception>
#include <mutex>
#include <new>
#include <string>
#include <vector>

// One build for all x86 processors: the loader picks the clone, so a cache folder may be shared between machines.
#if defined(__x86_64__) && defined(__gnu_linux__) && !defined(__clang__)
#define VECTORISED __attribute__((target_clones("avx2", "default")))
#else
#define VECTORISED
#endif

namespace {

constexpr size_t kChannels = 3;
/// Fixed point of the weights; resize-bicubic.ts has the same.
constexpr int kPrecisionBits = 22;
/// Rows that the horizontal pass turns on their side at once: kStrip · 3 sums fit into the vector registers.
constexpr size_t kStrip = 32;
constexpr size_t kSide = kStrip * kChannels;
/// Distance between two turned columns: a copy of one pixel writes 4 bytes.
constexpr size_t kTurnedStride = kSide + 16;
/// Columns that are turned, and turned back, at once: they stay in the first-level cache.
constexpr size_t kBlock = 32;

/// Of every size that JavaScript gives, so that no product of them overflows.
constexpr int64_t kMaxSize = 1 << 20;

/// What a pixel's bytes are, as image-ops.ts numbers it.
enum Layout : int32_t { kRgb = 0, kRgbaOnWhite = 1, kCmyk = 2 };

/// For output i: inputs from first[i], `taps` weights (zeros at the end). None: the size stays.
struct Filter {
  const int32_t* first = nullptr;
  const int32_t* weights = nullptr;
  size_t taps = 0;
  size_t size = 0;
};

struct Image {
  const uint8_t* data;
  size_t height, width;
  size_t Stride() const { return width * kChannels; }
};

/// Memory of images, used again: the pages of megabytes that are fresh take longer to have than the patches to compute. Only exact sizes are found
/// again, as a data set's images are scaled to few.
class Recycler {
 public:
  /// Not cleared. Throws std::bad_alloc.
  void* Take(size_t bytes) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      for (auto block = kept_.begin(); block != kept_.end(); ++block) {
        if (block->bytes != bytes) continue;
        void* const data = block->data;
        kept_.erase(block);
        held_ -= bytes;
        return data;
      }
    }
    void* const data = std::malloc(bytes);
    if (data == nullptr) throw std::bad_alloc();
    return data;
  }

  void Give(void* data, size_t bytes) noexcept {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (bytes > kMostHeld) return std::free(data);
    try {
      kept_.push_back({data, bytes});
    } catch (const std::bad_alloc&) {
      return std::free(data);
    }
    for (held_ += bytes; held_ > kMostHeld; kept_.pop_front()) {
      held_ -= kept_.front().bytes;
      std::free(kept_.front().data);
    }
  }

 private:
  static constexpr size_t kMostHeld = 64 << 20;
  struct Block {
    void* data;
    size_t bytes;
  };
  std::mutex mutex_;
  std::deque<Block> kept_;
  size_t held_ = 0;
};

/// Never destroyed: finalizers may run as the process ends.
Recycler& Memory() {
  static Recycler* const recycler = new Recycler();
  return *recycler;
}

/// Bytes that live as long as their scope.
class Scratch {
 public:
  Scratch() = default;
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() {
    if (data_ != nullptr) Memory().Give(data_, bytes_);
  }
  uint8_t* Take(size_t bytes) {
    data_ = static_cast<uint8_t*>(Memory().Take(bytes));
    bytes_ = bytes;
    return data_;
  }

 private:
  uint8_t* data_ = nullptr;
  size_t bytes_ = 0;
};

inline uint8_t Clip(int32_t sum) { return static_cast<uint8_t>(std::clamp(sum >> kPrecisionBits, 0, 255)); }

/// out[i] = Σ_k rows[k · stride + i] · weights[k], rounded to bytes.
inline __attribute__((always_inline)) void SumOfRows(const uint8_t* rows, size_t stride, const int32_t* weights, size_t count, size_t length,
                                                     int32_t* __restrict sums, uint8_t* __restrict out) {
  for (size_t i = 0; i < length; i++) sums[i] = 1 << (kPrecisionBits - 1);
  for (size_t k = 0; k < count; k++) {
    const uint8_t* row = rows + k * stride;
    const int32_t weight = weights[k];
    for (size_t i = 0; i < length; i++) sums[i] += row[i] * weight;
  }
  for (size_t i = 0; i < length; i++) out[i] = Clip(sums[i]);
}

VECTORISED void Vertically(const Image& in, const Filter& filter, uint8_t* out) {
  const size_t stride = in.Stride();
  std::vector<int32_t> sums(stride);
  for (size_t y = 0; y < filter.size; y++) {
    const size_t first = filter.first[y];
    const size_t count = std::min(filter.taps, in.height - first);
    SumOfRows(in.data + first * stride, stride, filter.weights + y * filter.taps, count, stride, sums.data(), out + y * stride);
  }
}

/// `rows` rows of an image to turned[x][row][channel].
void Turn(const Image& in, size_t top, size_t rows, uint8_t* turned) {
  for (size_t left = 0; left < in.width; left += kBlock) {
    const size_t right = std::min(left + kBlock, in.width);
    for (size_t row = 0; row < rows; row++) {
      const uint8_t* from = in.data + (top + row) * in.Stride();
      // A pixel and the byte after it at once: the next row overwrites that byte, or it lies in the gap. The image's last pixel has none after it.
      const bool atEnd = top + row + 1 == in.height && right == in.width;
      uint8_t* to = turned + row * kChannels;
      for (size_t x = left; x < right - atEnd; x++) std::memcpy(to + x * kTurnedStride, from + x * kChannels, 4);
      if (atEnd) std::memcpy(to + (right - 1) * kTurnedStride, from + (right - 1) * kChannels, kChannels);
    }
  }
}

VECTORISED void HorizontallyStrip(const uint8_t* turned, size_t inWidth, const Filter& filter, size_t rows, uint8_t* out) {
  int32_t sums[kSide];
  uint8_t columns[kBlock][kSide];
  for (size_t left = 0; left < filter.size; left += kBlock) {
    const size_t width = std::min(kBlock, filter.size - left);
    for (size_t x = 0; x < width; x++) {
      const size_t first = filter.first[left + x];
      const size_t count = std::min(filter.taps, inWidth - first);
      SumOfRows(turned + first * kTurnedStride, kTurnedStride, filter.weights + (left + x) * filter.taps, count, kSide, sums, columns[x]);
    }
    for (size_t row = 0; row < rows; row++) {
      uint8_t* to = out + (row * filter.size + left) * kChannels;
      for (size_t x = 0; x < width; x++, to += kChannels) std::memcpy(to, columns[x] + row * kChannels, kChannels);
    }
  }
}

void Horizontally(const Image& in, const Filter& filter, uint8_t* out) {
  Scratch memory;
  uint8_t* const turned = memory.Take(in.width * kTurnedStride);
  std::memset(turned, 0, in.width * kTurnedStride);  // The last strip may have fewer rows; its sums over the others are not used.
  for (size_t top = 0; top < in.height; top += kStrip) {
    const size_t rows = std::min(kStrip, in.height - top);
    Turn(in, top, rows, turned);
    HorizontallyStrip(turned, in.width, filter, rows, out + top * filter.size * kChannels);
  }
}

/// RGBA to RGB on white: Pillow's alpha_composite on an opaque background.
void OnWhite(const uint8_t* rgba, size_t pixels, uint8_t* rgb) {
  for (size_t i = 0; i < pixels; i++, rgba += 4, rgb += kChannels) {
    const uint32_t alpha = rgba[3];
    for (size_t c = 0; c < kChannels; c++) {
      const uint32_t sum = (rgba[c] * alpha + 255 * (255 - alpha)) * 128 + (0x80 << 7);
      rgb[c] = static_cast<uint8_t>((((sum >> 8) + sum) >> 8) >> 7);
    }
  }
}

/// CMYK to RGB without a profile: Pillow's cmyk2rgb.
void FromCmyk(const uint8_t* cmyk, size_t pixels, uint8_t* rgb) {
  for (size_t i = 0; i < pixels; i++, cmyk += 4, rgb += kChannels) {
    const int32_t white = 255 - cmyk[3];
    for (size_t c = 0; c < kChannels; c++) {
      const int32_t product = cmyk[c] * white + 128;
      rgb[c] = static_cast<uint8_t>(white - (((product >> 8) + product) >> 8));
    }
  }
}

struct Patches {
  size_t side, temporal, merge;
  /// Each byte's pixel value: red's 256, green's, blue's.
  const float* values;
  float* out;
};

/// One row of the result: C, t, p, p, from the patch whose first byte is at `origin`.
void FillPatch(const uint8_t* origin, size_t stride, const Patches& patches, float* out) {
  const size_t frame = patches.side * patches.side;
  for (size_t c = 0; c < kChannels; c++) {
    const float* values = patches.values + c * 256;
    float* start = out + c * patches.temporal * frame;
    float* to = start;
    for (size_t y = 0; y < patches.side; y++) {
      const uint8_t* from = origin + y * stride + c;
      for (size_t x = 0; x < patches.side; x++, from += kChannels) *to++ = values[*from];
    }
    for (size_t copy = 1; copy < patches.temporal; copy++) std::memcpy(start + copy * frame, start, frame * sizeof(float));
  }
}

/// Rows in merge-block order, see patchify.ts.
void Patchify(const Image& image, const Patches& patches) {
  const size_t p = patches.side, m = patches.merge, stride = image.Stride();
  float* out = patches.out;
  for (size_t top = 0; top < image.height; top += p * m) {
    for (size_t left = 0; left < image.width; left += p * m) {
      for (size_t inner = 0; inner < m * m; inner++, out += kChannels * patches.temporal * p * p) {
        const size_t y = top + inner / m * p, x = left + inner % m * p;
        FillPatch(image.data + y * stride + x * kChannels, stride, patches, out);
      }
    }
  }
}

/// One call of imageToPatches. The arrays belong to the JavaScript object that `job` keeps alive.
struct Work {
  napi_async_work work = nullptr;
  napi_deferred deferred = nullptr;
  napi_ref job = nullptr;
  const uint8_t* pixels;
  int32_t layout;
  size_t height, width;
  Filter vertical, horizontal;
  bool verticalFirst;
  bool releasePixels;
  Patches patches;
  std::string error;

  void Run() const {
    Image image{pixels, height, width};
    Scratch rgb, first, second;
    if (layout != kRgb) {
      uint8_t* const composed = rgb.Take(height * width * kChannels);
      (layout == kCmyk ? FromCmyk : OnWhite)(pixels, height * width, composed);
      image.data = composed;
    }
    if (verticalFirst) VerticalPass(image, first);
    HorizontalPass(image, second);
    if (!verticalFirst) VerticalPass(image, first);
    Patchify(image, patches);
  }

  void VerticalPass(Image& image, Scratch& memory) const {
    if (vertical.size == 0) return;
    uint8_t* const out = memory.Take(vertical.size * image.Stride());
    Vertically(image, vertical, out);
    image = {out, vertical.size, image.width};
  }

  void HorizontalPass(Image& image, Scratch& memory) const {
    if (horizontal.size == 0) return;
    uint8_t* const out = memory.Take(image.height * horizontal.size * kChannels);
    Horizontally(image, horizontal, out);
    image = {out, image.height, horizontal.size};
  }
};

/// Reads the fields of the job; the first that is wrong is kept in `problem`.
class Fields {
 public:
  Fields(napi_env env, napi_value object) : env_(env), object_(object) {}

  size_t Size(const char* name) {
    int64_t value = 0;
    if (napi_get_value_int64(env_, Get(object_, name), &value) != napi_ok || value < 1 || value > kMaxSize) Fail(name, "a size");
    return static_cast<size_t>(value);
  }

  int32_t Number(const char* name) {
    int32_t value = 0;
    if (napi_get_value_int32(env_, Get(object_, name), &value) != napi_ok) Fail(name, "a number");
    return value;
  }

  bool Flag(const char* name) {
    bool value = false;
    if (napi_get_value_bool(env_, Get(object_, name), &value) != napi_ok) Fail(name, "a boolean");
    return value;
  }

  template <class T>
  T* Array(const char* name, napi_typedarray_type type, size_t length) {
    return Array<T>(object_, name, type, [length](size_t found) { return found == length; }, nullptr);
  }

  /// A filter from `in` inputs, or null.
  Filter ReadFilter(const char* name, size_t in) {
    const napi_value value = Get(object_, name);
    napi_valuetype type;
    if (napi_typeof(env_, value, &type) != napi_ok || type == napi_null) return {};
    Filter filter;
    const auto some = [](size_t found) { return found > 0; };
    filter.first = Array<int32_t>(value, "first", napi_int32_array, some, &filter.size);
    size_t weights = 0;
    filter.weights = Array<int32_t>(value, "weights", napi_int32_array, some, &weights);
    if (!problem.empty()) return {};
    filter.taps = weights / filter.size;
    const auto inside = [in](int32_t first) { return first >= 0 && static_cast<size_t>(first) < in; };
    if (weights % filter.size != 0 || !std::all_of(filter.first, filter.first + filter.size, inside)) Fail(name, "a filter of this image");
    return filter;
  }

  void Fail(const char* name, const char* expected) {
    if (problem.empty()) problem = std::string("imageToPatches: ") + name + " is not " + expected;
  }

  std::string problem;

 private:
  napi_value Get(napi_value object, const char* name) {
    napi_value value = nullptr;
    napi_get_named_property(env_, object, name, &value);
    return value;
  }

  template <class T, class Accept>
  T* Array(napi_value object, const char* name, napi_typedarray_type type, Accept accept, size_t* length) {
    napi_typedarray_type foundType = napi_int8_array;
    size_t found = 0;
    void* data = nullptr;
    const napi_status status = napi_get_typedarray_info(env_, Get(object, name), &foundType, &found, &data, nullptr, nullptr);
    if (status != napi_ok || foundType != type || !accept(found)) Fail(name, "a typed array of the expected type and length");
    if (length) *length = found;
    return static_cast<T*>(data);
  }

  napi_env env_;
  napi_value object_;
};

std::string Read(napi_env env, napi_value job, Work& work) {
  Fields fields(env, job);
  work.height = fields.Size("height");
  work.width = fields.Size("width");
  work.layout = fields.Number("layout");
  work.verticalFirst = fields.Flag("verticalFirst");
  work.releasePixels = fields.Flag("releasePixels");
  work.patches.side = fields.Size("patchSize");
  work.patches.temporal = fields.Size("temporalPatchSize");
  work.patches.merge = fields.Size("mergeSize");
  work.vertical = fields.ReadFilter("vertical", work.height);
  work.horizontal = fields.ReadFilter("horizontal", work.width);
  if (work.layout < kRgb || work.layout > kCmyk) fields.Fail("layout", "0, 1 or 2");
  const size_t channels = work.layout == kRgb ? kChannels : 4;
  work.pixels = fields.Array<uint8_t>("pixels", napi_uint8_array, work.height * work.width * channels);
  work.patches.values = fields.Array<float>("values", napi_float32_array, 256 * kChannels);
  const size_t height = work.vertical.size ? work.vertical.size : work.height;
  const size_t width = work.horizontal.size ? work.horizontal.size : work.width;
  const size_t block = work.patches.side * work.patches.merge;
  if (height % block != 0 || width % block != 0) fields.Fail("height or width", "a multiple of mergeSize · patchSize");
  work.patches.out = fields.Array<float>("patches", napi_float32_array, height * width * kChannels * work.patches.temporal);
  return fields.problem;
}

void Execute(napi_env, void* data) {
  Work* work = static_cast<Work*>(data);
  try {
    work->Run();
  } catch (const std::exception& error) {
    work->error = std::string("imageToPatches: ") + error.what();
  }
}

/// Gives the decoded image's memory back now and not at some collection; megabytes of it would hurry the collector instead.
void ReleasePixels(napi_env env, napi_ref reference) {
  napi_value job, pixels, buffer;
  if (napi_get_reference_value(env, reference, &job) == napi_ok && napi_get_named_property(env, job, "pixels", &pixels) == napi_ok &&
      napi_get_typedarray_info(env, pixels, nullptr, nullptr, nullptr, &buffer, nullptr) == napi_ok) {
    napi_detach_arraybuffer(env, buffer);
  }
}

void Complete(napi_env env, napi_status, void* data) {
  Work* work = static_cast<Work*>(data);
  napi_value value;
  if (work->releasePixels) ReleasePixels(env, work->job);
  if (work->error.empty()) {
    napi_get_undefined(env, &value);
    napi_resolve_deferred(env, work->deferred, value);
  } else {
    napi_value message;
    napi_create_string_utf8(env, work->error.data(), work->error.size(), &message);
    napi_create_error(env, nullptr, message, &value);
    napi_reject_deferred(env, work->deferred, value);
  }
  napi_delete_reference(env, work->job);
  napi_delete_async_work(env, work->work);
  delete work;
}

// imageToPatches(job): fills job.patches, see src/backend/image-ops.ts. Returns a promise; throws for a job that does not fit together.
napi_value ImageToPatches(napi_env env, napi_callback_info info) {
  size_t argc = 1;
  napi_value job, name, promise;
  napi_get_cb_info(env, info, &argc, &job, nullptr, nullptr);
  Work* work = new Work();
  const std::string problem = Read(env, job, *work);
  bool pending = false;
  napi_is_exception_pending(env, &pending);
  if (pending || !problem.empty()) {
    delete work;
    if (!pending) napi_throw_type_error(env, nullptr, problem.c_str());
    return nullptr;
  }
  napi_create_reference(env, job, 1, &work->job);
  napi_create_promise(env, &work->deferred, &promise);
  napi_create_string_utf8(env, "imageToPatches", NAPI_AUTO_LENGTH, &name);
  napi_create_async_work(env, nullptr, name, Execute, Complete, work, &work->work);
  napi_queue_async_work(env, work->work);
  return promise;
}

void Recycle(napi_env, void* data, void* bytes) { Memory().Give(data, reinterpret_cast<uintptr_t>(bytes)); }

// floats(length): a Float32Array whose elements are whatever its memory held; the memory is used again once the array has been collected.
napi_value Floats(napi_env env, napi_callback_info info) {
  size_t argc = 1;
  napi_value length, buffer, array;
  int64_t count = 0;
  napi_get_cb_info(env, info, &argc, &length, nullptr, nullptr);
  if (argc < 1 || napi_get_value_int64(env, length, &count) != napi_ok || count < 1 || count > kMaxSize * kMaxSize) {
    napi_throw_type_error(env, nullptr, "floats: (length) expected, at least 1");
    return nullptr;
  }
  const size_t bytes = static_cast<size_t>(count) * sizeof(float);
  try {
    void* data = Memory().Take(bytes);
    if (napi_create_external_arraybuffer(env, data, bytes, Recycle, reinterpret_cast<void*>(bytes), &buffer) != napi_ok) {
      Memory().Give(data, bytes);  // A runtime that forbids memory from outside its heap.
      napi_create_arraybuffer(env, bytes, &data, &buffer);
    }
  } catch (const std::bad_alloc&) {
    napi_throw_range_error(env, nullptr, "floats: no memory for that many");
    return nullptr;
  }
  napi_create_typedarray(env, napi_float32_array, static_cast<size_t>(count), buffer, 0, &array);
  return array;
}

}  // namespace

NAPI_MODULE_INIT() {
  const napi_property_descriptor functions[] = {
      {"imageToPatches", nullptr, ImageToPatches, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
      {"floats", nullptr, Floats, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
  };
  napi_define_properties(env, exports, sizeof(functions) / sizeof(functions[0]), functions);
  return exports;
}
