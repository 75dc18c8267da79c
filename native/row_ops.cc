// TensorFlow ops of our own, registered through its C API for kernels, as a plug-in's are: few_rows.h and fused_rows.h.
//
//     FewRowsMatMul(x: float [N, in], w: T [out, in], scale: S * float [out]) -> float [N, out]     T: float, bfloat16, int8; S: 0 or 1
//     FusedRmsNorm(x: float [N, C], w: float [C], eps) -> y: T [N, C], inverse_rms: float [N, 1]    T: float, bfloat16
//     FusedSwiglu(gate: T [N, C], up: T [N, C], biases: B * float [C]) -> y: T [N, C]               T: float, bfloat16; B: 0 or 2
//     FusedWidenBias(x: bfloat16 [N, C], bias: float [C]) -> y: float [N, C]
//     FusedRotary(x: float [N, H, D], cos: float [N, 1, D], signed_sin: float [N, 1, D]) -> y: float [N, H, D]
#pragma GCC optimize("O3")  // the addon is compiled with -O2, which keeps the sums of the inner loops in memory
#include "row_ops.h"

#include <string>
#include <utility>
#include <vector>

#include "few_rows.h"
#include "fused_rows.h"

#include "tensorflow/c/ops.h"
#include "tensorflow/c/tf_datatype.h"
#include "tensorflow/c/tf_status.h"
#include "tensorflow/c/tf_tensor.h"

// Of tensorflow/c/kernels.h, which includes headers that are not in a staged runtime.
extern "C" {
struct TF_KernelBuilder;
struct TF_OpKernelConstruction;
struct TF_OpKernelContext;
TF_KernelBuilder *TF_NewKernelBuilder(const char *op_name, const char *device_name, void *(*create)(TF_OpKernelConstruction *),
                                      void (*compute)(void *, TF_OpKernelContext *), void (*destroy)(void *));
void TF_RegisterKernelBuilder(const char *kernel_name, TF_KernelBuilder *builder, TF_Status *status);
int TF_NumInputs(TF_OpKernelContext *context);
void TF_GetInput(TF_OpKernelContext *context, int i, TF_Tensor **tensor, TF_Status *status);
void TF_OpKernelConstruction_GetAttrFloat(TF_OpKernelConstruction *context, const char *name, float *value, TF_Status *status);
void TF_OpKernelConstruction_GetAttrType(TF_OpKernelConstruction *context, const char *name, TF_DataType *value, TF_Status *status);
void TF_OpKernelConstruction_Failure(TF_OpKernelConstruction *context, TF_Status *status);
TF_Tensor *TF_AllocateOutput(TF_OpKernelContext *context, int index, TF_DataType dtype, const int64_t *dims, int num_dims, size_t len,
                             TF_Status *status);
void TF_OpKernelContext_Failure(TF_OpKernelContext *context, TF_Status *status);
}

namespace row_ops {
#ifdef ROW_OPS_SUPPORTED
namespace {

constexpr char kMatMul[] = "FewRowsMatMul", kNorm[] = "FusedRmsNorm", kSwiglu[] = "FusedSwiglu", kBias[] = "FusedWidenBias", kRotary[] = "FusedRotary";

struct Status {
  TF_Status *const status = TF_NewStatus();
  ~Status() { TF_DeleteStatus(status); }
  bool ok() const { return TF_GetCode(status) == TF_OK; }
};

struct Input {
  TF_Tensor *tensor = nullptr;
  Input() = default;
  Input(const Input &) = delete;
  Input(Input &&other) noexcept : tensor(std::exchange(other.tensor, nullptr)) {}
  ~Input() {
    if (tensor) TF_DeleteTensor(tensor);
  }
  size_t dim(int i) const { return static_cast<size_t>(TF_Dim(tensor, i)); }
};

// [x's rows] ++ [w's rows]
void InferShape(TF_ShapeInferenceContext *context, TF_Status *status) {
  TF_ShapeHandle *const shapes[] = {TF_NewShapeHandle(), TF_NewShapeHandle(), TF_NewShapeHandle()};
  for (int i = 0; i < 2 && TF_GetCode(status) == TF_OK; i++) {
    TF_ShapeInferenceContextGetInput(context, i, shapes[i], status);
    if (TF_GetCode(status) == TF_OK) TF_ShapeInferenceContextWithRank(context, shapes[i], 2, shapes[i], status);
    if (TF_GetCode(status) == TF_OK) TF_ShapeInferenceContextSubshape(context, shapes[i], 0, 1, shapes[i], status);
  }
  if (TF_GetCode(status) == TF_OK) TF_ShapeInferenceContextConcatenateShapes(context, shapes[0], shapes[1], shapes[2], status);
  if (TF_GetCode(status) == TF_OK) TF_ShapeInferenceContextSetOutput(context, 0, shapes[2], status);
  for (TF_ShapeHandle *shape : shapes) TF_DeleteShapeHandle(shape);
}

std::string ShapeOf(const Input &input) {
  std::string shape = "[";
  for (int i = 0; i < TF_NumDims(input.tensor); i++) shape += (i ? "," : "") + std::to_string(TF_Dim(input.tensor, i));
  return shape + "]";
}

// Whether the operands fit each other; if not, `status` says what does not.
bool Check(const Input &x, const Input &w, const Input *scale, TF_Status *status) {
  const TF_DataType type = TF_TensorType(w.tensor);
  std::string wrong;
  if (TF_NumDims(x.tensor) != 2 || TF_NumDims(w.tensor) != 2 || x.dim(1) != w.dim(1)) {
    wrong = "expected x [N, in] and w [out, in], got " + ShapeOf(x) + " and " + ShapeOf(w);
  } else if ((scale != nullptr) != (type == TF_INT8)) {
    wrong = "a scale goes with int8 weights, and with no other";
  } else if (scale && (TF_NumDims(scale->tensor) != 1 || scale->dim(0) != w.dim(0))) {
    wrong = "expected a scale for each of w's rows, got " + ShapeOf(*scale) + " for " + ShapeOf(w);
  }
  if (!wrong.empty()) TF_SetStatus(status, TF_INVALID_ARGUMENT, (std::string(kMatMul) + ": " + wrong).c_str());
  return wrong.empty();
}

void Compute(void *, TF_OpKernelContext *context) {
  Status status;
  Input x, w, scale;
  const bool scaled = TF_NumInputs(context) == 3;
  TF_GetInput(context, 0, &x.tensor, status.status);
  if (status.ok()) TF_GetInput(context, 1, &w.tensor, status.status);
  if (status.ok() && scaled) TF_GetInput(context, 2, &scale.tensor, status.status);
  if (!status.ok() || !Check(x, w, scaled ? &scale : nullptr, status.status)) return TF_OpKernelContext_Failure(context, status.status);
  const int64_t shape[] = {TF_Dim(x.tensor, 0), TF_Dim(w.tensor, 0)};
  Input y;
  y.tensor = TF_AllocateOutput(context, 0, TF_FLOAT, shape, 2, shape[0] * shape[1] * sizeof(float), status.status);
  if (!status.ok()) return TF_OpKernelContext_Failure(context, status.status);
  const TF_DataType type = TF_TensorType(w.tensor);
  Multiply({static_cast<const float *>(TF_TensorData(x.tensor)), x.dim(0), TF_TensorData(w.tensor),
            type == TF_FLOAT ? Type::kFloat32 : type == TF_BFLOAT16 ? Type::kBfloat16 : Type::kInt8, w.dim(0), w.dim(1),
            scaled ? static_cast<const float *>(TF_TensorData(scale.tensor)) : nullptr, static_cast<float *>(TF_TensorData(y.tensor))});
}

// x's shape; and [x's rows] ++ [1]
void InferNormShape(TF_ShapeInferenceContext *context, TF_Status *status) {
  TF_ShapeHandle *const x = TF_NewShapeHandle(), *const rows = TF_NewShapeHandle();
  TF_ShapeInferenceContextGetInput(context, 0, x, status);
  if (TF_GetCode(status) == TF_OK) TF_ShapeInferenceContextWithRank(context, x, 2, x, status);
  if (TF_GetCode(status) == TF_OK) TF_ShapeInferenceContextSetOutput(context, 0, x, status);
  if (TF_GetCode(status) == TF_OK) TF_ShapeInferenceContextSubshape(context, x, 0, 1, rows, status);
  if (TF_GetCode(status) == TF_OK) {
    TF_ShapeHandle *const one = TF_ShapeInferenceContextVectorFromSize(context, 1);
    TF_ShapeInferenceContextConcatenateShapes(context, rows, one, rows, status);
    TF_DeleteShapeHandle(one);
  }
  if (TF_GetCode(status) == TF_OK) TF_ShapeInferenceContextSetOutput(context, 1, rows, status);
  TF_DeleteShapeHandle(x);
  TF_DeleteShapeHandle(rows);
}

void InferFirstShape(TF_ShapeInferenceContext *context, TF_Status *status) {
  TF_ShapeHandle *const first = TF_NewShapeHandle();
  TF_ShapeInferenceContextGetInput(context, 0, first, status);
  if (TF_GetCode(status) == TF_OK) TF_ShapeInferenceContextSetOutput(context, 0, first, status);
  TF_DeleteShapeHandle(first);
}

struct NormAttrs {
  float eps;
  TF_DataType type;
};

void *CreateNorm(TF_OpKernelConstruction *context) {
  Status status;
  NormAttrs *const attrs = new NormAttrs;
  TF_OpKernelConstruction_GetAttrFloat(context, "eps", &attrs->eps, status.status);
  if (status.ok()) TF_OpKernelConstruction_GetAttrType(context, "T", &attrs->type, status.status);
  if (!status.ok()) TF_OpKernelConstruction_Failure(context, status.status);
  return attrs;
}

void DeleteNorm(void *attrs) { delete static_cast<NormAttrs *>(attrs); }

void Fail(TF_OpKernelContext *context, Status *status, const std::string &message) {
  TF_SetStatus(status->status, TF_INVALID_ARGUMENT, message.c_str());
  TF_OpKernelContext_Failure(context, status->status);
}

void ComputeNorm(void *kernel, TF_OpKernelContext *context) {
  const NormAttrs &attrs = *static_cast<NormAttrs *>(kernel);
  Status status;
  Input x, w, y, inverse;
  TF_GetInput(context, 0, &x.tensor, status.status);
  if (status.ok()) TF_GetInput(context, 1, &w.tensor, status.status);
  if (!status.ok()) return TF_OpKernelContext_Failure(context, status.status);
  if (TF_NumDims(x.tensor) != 2 || TF_NumDims(w.tensor) != 1 || x.dim(1) != w.dim(0)) {
    return Fail(context, &status, std::string(kNorm) + ": expected x [N, C] and w [C], got " + ShapeOf(x) + " and " + ShapeOf(w));
  }
  const int64_t shape[] = {TF_Dim(x.tensor, 0), TF_Dim(x.tensor, 1)}, column[] = {shape[0], 1};
  y.tensor = TF_AllocateOutput(context, 0, attrs.type, shape, 2, shape[0] * shape[1] * TF_DataTypeSize(attrs.type), status.status);
  if (status.ok()) inverse.tensor = TF_AllocateOutput(context, 1, TF_FLOAT, column, 2, shape[0] * sizeof(float), status.status);
  if (!status.ok()) return TF_OpKernelContext_Failure(context, status.status);
  const size_t width = x.dim(1);
  const float *const from = static_cast<const float *>(TF_TensorData(x.tensor)), *const weight = static_cast<const float *>(TF_TensorData(w.tensor));
  void *const to = TF_TensorData(y.tensor);
  float *const r = static_cast<float *>(TF_TensorData(inverse.tensor));
  InParts(x.dim(0), width, [&](size_t begin, size_t end) {
    const float *const rows = from + begin * width;
    if (attrs.type == TF_FLOAT) NormRows(rows, weight, attrs.eps, end - begin, width, static_cast<float *>(to) + begin * width, r + begin);
    else NormRowsBf16(rows, weight, attrs.eps, end - begin, width, static_cast<Bf16 *>(to) + begin * width, r + begin);
  });
}

// All inputs of an op; false, with the failure reported, if one can't be had.
bool GetInputs(TF_OpKernelContext *context, std::vector<Input> *inputs, Status *status) {
  inputs->resize(TF_NumInputs(context));
  for (size_t i = 0; i < inputs->size(); i++) {
    TF_GetInput(context, static_cast<int>(i), &(*inputs)[i].tensor, status->status);
    if (!status->ok()) {
      TF_OpKernelContext_Failure(context, status->status);
      return false;
    }
  }
  return true;
}

// An output of `like`'s shape; null, with the failure reported, if there is no memory for it.
TF_Tensor *AllocateLike(TF_OpKernelContext *context, const Input &like, TF_DataType type, Status *status) {
  std::vector<int64_t> shape(TF_NumDims(like.tensor));
  for (size_t i = 0; i < shape.size(); i++) shape[i] = TF_Dim(like.tensor, static_cast<int>(i));
  const size_t bytes = static_cast<size_t>(TF_TensorElementCount(like.tensor)) * TF_DataTypeSize(type);
  TF_Tensor *const y = TF_AllocateOutput(context, 0, type, shape.data(), static_cast<int>(shape.size()), bytes, status->status);
  if (!status->ok()) TF_OpKernelContext_Failure(context, status->status);
  return status->ok() ? y : nullptr;
}

const float *Floats(const Input &input) { return static_cast<const float *>(TF_TensorData(input.tensor)); }

void ComputeSwiglu(void *, TF_OpKernelContext *context) {
  Status status;
  std::vector<Input> in;
  if (!GetInputs(context, &in, &status)) return;
  if (TF_NumDims(in[0].tensor) != 2 || ShapeOf(in[0]) != ShapeOf(in[1])) {
    return Fail(context, &status, std::string(kSwiglu) + ": expected two tensors [N, C], got " + ShapeOf(in[0]) + " and " + ShapeOf(in[1]));
  }
  const size_t width = in[0].dim(1);
  const bool biased = in.size() == 4;
  if (in.size() != 2 && !(biased && TF_NumDims(in[2].tensor) == 1 && TF_NumDims(in[3].tensor) == 1 && in[2].dim(0) == width && in[3].dim(0) == width)) {
    return Fail(context, &status, std::string(kSwiglu) + ": expected no biases, or two [C] of " + ShapeOf(in[0]));
  }
  const TF_DataType type = TF_TensorType(in[0].tensor);
  Input y;
  y.tensor = AllocateLike(context, in[0], type, &status);
  if (!y.tensor) return;
  const float *const gate_bias = biased ? Floats(in[2]) : nullptr, *const up_bias = biased ? Floats(in[3]) : nullptr;
  const void *const g = TF_TensorData(in[0].tensor), *const u = TF_TensorData(in[1].tensor);
  void *const to = TF_TensorData(y.tensor);
  InParts(in[0].dim(0), width, [&](size_t begin, size_t end) {
    const size_t at = begin * width, rows = end - begin;
    if (type == TF_FLOAT) {
      Swiglu(static_cast<const float *>(g) + at, static_cast<const float *>(u) + at, gate_bias, up_bias, rows, width, static_cast<float *>(to) + at);
    } else {
      SwigluBf16(static_cast<const Bf16 *>(g) + at, static_cast<const Bf16 *>(u) + at, gate_bias, up_bias, rows, width, static_cast<Bf16 *>(to) + at);
    }
  });
}

void ComputeBias(void *, TF_OpKernelContext *context) {
  Status status;
  std::vector<Input> in;
  if (!GetInputs(context, &in, &status)) return;
  if (TF_NumDims(in[0].tensor) != 2 || TF_NumDims(in[1].tensor) != 1 || in[0].dim(1) != in[1].dim(0)) {
    return Fail(context, &status, std::string(kBias) + ": expected x [N, C] and bias [C], got " + ShapeOf(in[0]) + " and " + ShapeOf(in[1]));
  }
  Input y;
  y.tensor = AllocateLike(context, in[0], TF_FLOAT, &status);
  if (!y.tensor) return;
  const size_t width = in[0].dim(1);
  const Bf16 *const x = static_cast<const Bf16 *>(TF_TensorData(in[0].tensor));
  float *const to = static_cast<float *>(TF_TensorData(y.tensor));
  InParts(in[0].dim(0), width, [&](size_t begin, size_t end) { WidenBias(x + begin * width, Floats(in[1]), end - begin, width, to + begin * width); });
}

void ComputeRotary(void *, TF_OpKernelContext *context) {
  Status status;
  std::vector<Input> in;
  if (!GetInputs(context, &in, &status)) return;
  bool fits = TF_NumDims(in[0].tensor) == 3 && in[0].dim(2) % 2 == 0;
  for (int i = 1; i < 3; i++) {
    fits = fits && TF_NumDims(in[i].tensor) == 3 && in[i].dim(0) == in[0].dim(0) && in[i].dim(1) == 1 && in[i].dim(2) == in[0].dim(2);
  }
  if (!fits) {
    return Fail(context, &status, std::string(kRotary) + ": expected x [N, H, D] of an even D and two tables [N, 1, D], got " + ShapeOf(in[0]) + ", " +
                                      ShapeOf(in[1]) + " and " + ShapeOf(in[2]));
  }
  Input y;
  y.tensor = AllocateLike(context, in[0], TF_FLOAT, &status);
  if (!y.tensor) return;
  const size_t heads = in[0].dim(1), dim = in[0].dim(2);
  float *const to = static_cast<float *>(TF_TensorData(y.tensor));
  InParts(in[0].dim(0), heads * dim, [&](size_t begin, size_t end) {
    const size_t at = begin * heads * dim;
    Rotary(Floats(in[0]) + at, Floats(in[1]) + begin * dim, Floats(in[2]) + begin * dim, end - begin, heads, dim, to + at);
  });
}

using Infer = void (*)(TF_ShapeInferenceContext *, TF_Status *);

struct OpSpec {
  const char *name;
  std::vector<const char *> attrs, inputs, outputs;
  Infer infer;
  void *(*create)(TF_OpKernelConstruction *);
  void (*compute)(void *, TF_OpKernelContext *);
  void (*destroy)(void *);
};

bool Register(const OpSpec &spec) {
  Status status;
  TF_OpDefinitionBuilder *const op = TF_NewOpDefinitionBuilder(spec.name);
  for (const char *attr : spec.attrs) TF_OpDefinitionBuilderAddAttr(op, attr);
  for (const char *input : spec.inputs) TF_OpDefinitionBuilderAddInput(op, input);
  for (const char *output : spec.outputs) TF_OpDefinitionBuilderAddOutput(op, output);
  TF_OpDefinitionBuilderSetShapeInferenceFunction(op, spec.infer);
  TF_RegisterOpDefinition(op, status.status);
  if (status.ok()) {
    TF_KernelBuilder *const kernel = TF_NewKernelBuilder(spec.name, "CPU", spec.create, spec.compute, spec.destroy);
    TF_RegisterKernelBuilder(spec.name, kernel, status.status);
  }
  return status.ok();
}

std::string RegisterOnce() {
  const Instructions best = BestInstructions();
  if (best == Instructions::kNone) return "";
  const bool registered =
      Register({kMatMul, {"T: {float, bfloat16, int8}", "S: int >= 0"}, {"x: float", "w: T", "scale: S * float"}, {"y: float"}, InferShape, nullptr,
                Compute, nullptr}) &&
      Register({kNorm, {"T: {float, bfloat16}", "eps: float"}, {"x: float", "w: float"}, {"y: T", "inverse_rms: float"}, InferNormShape,
                CreateNorm, ComputeNorm, DeleteNorm}) &&
      Register({kSwiglu, {"T: {float, bfloat16}", "B: int >= 0"}, {"gate: T", "up: T", "biases: B * float"}, {"y: T"}, InferFirstShape, nullptr,
                ComputeSwiglu, nullptr}) &&
      Register({kBias, {}, {"x: bfloat16", "bias: float"}, {"y: float"}, InferFirstShape, nullptr, ComputeBias, nullptr}) &&
      Register({kRotary, {}, {"x: float", "cos: float", "signed_sin: float"}, {"y: float"}, InferFirstShape, nullptr, ComputeRotary, nullptr});
  if (!registered) return "";
  return best == Instructions::kAvx512Bf16 ? "avx512_bf16" : best == Instructions::kAvx512 ? "avx512f" : "avx2";
}

}  // namespace

std::string RegisterRowOps() {
  static const std::string instructions = RegisterOnce();
  return instructions;
}
#else
std::string RegisterRowOps() { return ""; }
#endif

}  // namespace row_ops
