// TensorFlow ops of our own, registered through its C API for kernels, as a plug-in's are: few_rows.h and fused_rows.h.
//
//     FewRowsMatMul(x: float [N, in], w: T [out, in], scale: S * float [out]) -> float [N, out]     T: float, bfloat16, int8; S: 0 or 1
//     FusedRmsNorm(x: float [N, C], w: float [C], eps) -> y: T [N, C], inverse_rms: float [N, 1]    T: float, bfloat16
//     FusedSwiglu(gate: T, up: T) -> y: T                                                           T: float, bfloat16
#pragma GCC optimize("O3")  // the addon is compiled with -O2, which keeps the sums of the inner loops in memory
#include "row_ops.h"

#include <string>

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

constexpr char kMatMul[] = "FewRowsMatMul", kNorm[] = "FusedRmsNorm", kSwiglu[] = "FusedSwiglu";

struct Status {
  TF_Status *const status = TF_NewStatus();
  ~Status() { TF_DeleteStatus(status); }
  bool ok() const { return TF_GetCode(status) == TF_OK; }
};

struct Input {
  TF_Tensor *tensor = nullptr;
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

void ComputeSwiglu(void *, TF_OpKernelContext *context) {
  Status status;
  Input gate, up, y;
  TF_GetInput(context, 0, &gate.tensor, status.status);
  if (status.ok()) TF_GetInput(context, 1, &up.tensor, status.status);
  if (!status.ok()) return TF_OpKernelContext_Failure(context, status.status);
  if (ShapeOf(gate) != ShapeOf(up)) {
    return Fail(context, &status, std::string(kSwiglu) + ": expected two tensors of one shape, got " + ShapeOf(gate) + " and " + ShapeOf(up));
  }
  const TF_DataType type = TF_TensorType(gate.tensor);
  std::vector<int64_t> shape(TF_NumDims(gate.tensor));
  for (size_t i = 0; i < shape.size(); i++) shape[i] = TF_Dim(gate.tensor, static_cast<int>(i));
  y.tensor = TF_AllocateOutput(context, 0, type, shape.data(), static_cast<int>(shape.size()), TF_TensorByteSize(gate.tensor), status.status);
  if (!status.ok()) return TF_OpKernelContext_Failure(context, status.status);
  const void *const g = TF_TensorData(gate.tensor), *const u = TF_TensorData(up.tensor);
  void *const to = TF_TensorData(y.tensor);
  InParts(static_cast<size_t>(TF_TensorElementCount(gate.tensor)), 1, [&](size_t begin, size_t end) {
    if (type == TF_FLOAT) {
      Swiglu(static_cast<const float *>(g) + begin, static_cast<const float *>(u) + begin, end - begin, static_cast<float *>(to) + begin);
    } else {
      SwigluBf16(static_cast<const Bf16 *>(g) + begin, static_cast<const Bf16 *>(u) + begin, end - begin, static_cast<Bf16 *>(to) + begin);
    }
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
      Register({kSwiglu, {"T: {float, bfloat16}"}, {"gate: T", "up: T"}, {"y: T"}, InferFirstShape, nullptr, ComputeSwiglu, nullptr});
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
